//! The addresses of the DNS listeners of this process, which upstream DNS must not query.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use parking_lot::RwLock;

/// The addresses of the DNS listeners of one resolver.
#[derive(Debug, Default)]
pub(crate) struct SelfAddresses(RwLock<Vec<SocketAddr>>);

impl SelfAddresses {
    #[cfg_attr(not(feature = "listener"), allow(dead_code, reason = "only the listener uses it"))]
    pub(crate) fn add(&self, addresses: &[SocketAddr]) {
        self.0.write().extend_from_slice(addresses);
    }

    #[cfg_attr(not(feature = "listener"), allow(dead_code, reason = "only the listener uses it"))]
    pub(crate) fn remove(&self, addresses: &[SocketAddr]) {
        let mut own = self.0.write();
        for address in addresses {
            if let Some(at) = own.iter().position(|own| own == address) {
                own.swap_remove(at);
            }
        }
    }

    /// Whether a DNS server is one of the listeners. A listener on the unspecified address listens on all addresses
    /// of the host.
    pub(super) fn contains(&self, server: SocketAddr) -> bool {
        let same = |own: &SocketAddr| {
            own.port() == server.port()
                && (own.ip().to_canonical() == server.ip().to_canonical()
                    || own.ip().is_unspecified() && is_of_this_host(server.ip().to_canonical()))
        };
        self.0.read().iter().any(same)
    }
}

/// Whether an address belongs to this host. If so, a UDP socket that is connected to the address has the same source
/// address. Connecting a UDP socket sends nothing.
fn is_of_this_host(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let reached_from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 53))?;
        socket.local_addr()
    };
    ip.is_loopback() || ip.is_unspecified() || reached_from().is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_the_unspecified_address_is_recognised() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (own, server, same) in [
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.2:53", false),
            ("127.0.0.1:5353", "127.0.0.1:53", false),
            ("127.0.0.1:53", "[::ffff:127.0.0.1]:53", true),
            ("0.0.0.0:53", "127.0.0.53:53", true),
            ("[::]:53", "127.0.0.1:53", true),
            ("0.0.0.0:53", "192.0.2.1:53", false),
        ] {
            let all = SelfAddresses::default();
            all.add(&[at(own)]);
            assert_eq!(all.contains(at(server)), same, "{own} {server}");
            all.remove(&[at(own)]);
            assert!(!all.contains(at(server)));
        }
    }
}
