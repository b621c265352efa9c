//! Decides which DNS clients receive loopback addresses. Such an answer makes the bridge open listeners.
//!
//! Every user of this host can send queries to a DNS server on loopback. The bridge would reject the connections of other
//! users anyway, so their queries must not open listeners.

use std::fmt;

use mesh_resolver::Asker;

use super::access::Access;
#[cfg(target_os = "linux")]
use super::socket_diagnostics::{Protocol, SocketDiagnostics};

/// The users whose DNS queries are answered with loopback addresses.
pub(super) struct DnsClients {
    access: Access,
    /// The permitted users, except for the user of this process.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux identifies users"))]
    users: Box<[u32]>,
    /// Finds the owner of a socket. `None` if the kernel cannot identify owners.
    #[cfg(target_os = "linux")]
    owners: Option<SocketDiagnostics>,
}

/// The reason why a DNS client receives no loopback address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Rejection {
    AnotherHost,
    /// The client runs as this user, who may not receive loopback addresses.
    User(u32),
    /// The client has closed its socket, the kernel cannot identify the owner, or the DNS server does not pass the
    /// addresses of its clients.
    Unidentified,
}

impl DnsClients {
    pub(super) fn new(access: Access, users: &[u32]) -> Self {
        Self {
            access,
            users: users.into(),
            #[cfg(target_os = "linux")]
            owners: SocketDiagnostics::open().ok(),
        }
    }

    pub(super) fn check(&self, asker: Asker) -> Result<(), Rejection> {
        match asker {
            Asker::ThisProcess => Ok(()),
            // On another host, a loopback address means that host, not the bridge.
            Asker::Udp { client, .. } | Asker::Tcp { client, .. }
                if !client.ip().to_canonical().is_loopback() =>
            {
                Err(Rejection::AnotherHost)
            }
            _ if self.access == Access::Any => Ok(()),
            _ => self.check_user(asker),
        }
    }

    #[cfg(target_os = "linux")]
    fn check_user(&self, asker: Asker) -> Result<(), Rejection> {
        let (protocol, client, mut server) = match asker {
            Asker::Udp { client, server } => (Protocol::Udp, client, server),
            Asker::Tcp { client, server } => (Protocol::Tcp, client, server),
            _ => return Err(Rejection::Unidentified),
        };
        if server.ip().is_unspecified() {
            // The UDP socket of the listener is bound to all addresses. A client that sends to a loopback address
            // normally has the same IP address as the server.
            server.set_ip(client.ip());
        }
        let owners = self.owners.as_ref().ok_or(Rejection::Unidentified)?;
        let owner = owners.find(protocol, client, server).ok().flatten().ok_or(Rejection::Unidentified)?;
        let uid = owner.uid;
        let is_own = uid == rustix::process::geteuid().as_raw();
        if is_own || self.users.contains(&uid) { Ok(()) } else { Err(Rejection::User(uid)) }
    }

    #[cfg(not(target_os = "linux"))]
    fn check_user(&self, _: Asker) -> Result<(), Rejection> {
        Err(Rejection::Unidentified)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherHost => f.write_str("only DNS clients on loopback receive loopback addresses"),
            Self::User(uid) => write!(
                f,
                "user {uid} may not use the loopback listeners of this process: if it runs a DNS cache for programs of \
                 this user, allow it with `with_dns_client_user`"
            ),
            Self::Unidentified => f.write_str(
                "the kernel does not identify the user of the DNS client: query a DnsListener on a loopback address, or \
                 use `Access::Any`",
            ),
        }
    }
}

impl fmt::Debug for DnsClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsClients")
            .field("access", &self.access)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn udp() -> (UdpSocket, UdpSocket, Asker) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let asker = Asker::Udp { client: client.local_addr().unwrap(), server: server.local_addr().unwrap() };
        (server, client, asker)
    }

    #[test]
    fn this_process_and_clients_of_its_user_are_accepted() {
        for access in [Access::SameProcess, Access::SameUser] {
            let clients = DnsClients::new(access, &[]);
            assert_eq!(clients.check(Asker::ThisProcess), Ok(()));
            let (_server, _client, asker) = udp();
            assert_eq!(clients.check(asker), Ok(()));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = listener.local_addr().unwrap();
            let client = TcpStream::connect(server).unwrap();
            assert_eq!(clients.check(Asker::Tcp { client: client.local_addr().unwrap(), server }), Ok(()));
        }
    }

    #[test]
    fn a_listener_on_all_addresses_identifies_its_loopback_clients() {
        let clients = DnsClients::new(Access::SameUser, &[]);
        let server = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.1", server.port())).unwrap();
        assert_eq!(clients.check(Asker::Udp { client: client.local_addr().unwrap(), server }), Ok(()));
    }

    #[test]
    fn clients_on_other_hosts_and_unidentified_clients_are_rejected() {
        let (server, client, asker) = udp();
        let server = server.local_addr().unwrap();
        let elsewhere: SocketAddr =
            (std::net::Ipv4Addr::new(192, 0, 2, 1), client.local_addr().unwrap().port()).into();
        drop(client);
        let clients = DnsClients::new(Access::SameUser, &[]);
        assert_eq!(clients.check(asker), Err(Rejection::Unidentified), "the client has gone");
        assert_eq!(clients.check(Asker::Unknown), Err(Rejection::Unidentified));
        for access in [Access::SameUser, Access::Any] {
            let from_elsewhere = Asker::Udp { client: elsewhere, server };
            assert_eq!(DnsClients::new(access, &[]).check(from_elsewhere), Err(Rejection::AnotherHost));
        }
        assert_eq!(DnsClients::new(Access::Any, &[]).check(asker), Ok(()));
    }
}
