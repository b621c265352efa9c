//! Finds the user that owns a UDP or TCP socket of this host with the kernel's socket diagnostics (`sock_diag(7)`).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The protocol of a socket, with its number in IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Tcp = 6,
    Udp = 17,
}

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const SEQUENCE: usize = 8;
/// The offset of the own port in `inet_diag_msg`: after family, state, timer and retransmissions.
const PORT: usize = HEADER + 4;
/// The offset of the user ID: after the ports, the addresses, the interface, the cookie, a timer and two queues.
const UID: usize = HEADER + 64;
const INODE: usize = UID + 4;
const ANSWER: usize = INODE + 4;

/// A socket for queries to the kernel. It is opened once, because a query must not fail if no descriptor is free.
#[derive(Debug)]
pub(super) struct SocketOwners(Mutex<Queries>);

#[derive(Debug)]
struct Queries {
    socket: OwnedFd,
    /// The number of the last query, by which its answer is recognised.
    sequence: u32,
}

impl SocketOwners {
    /// # Errors
    ///
    /// The kernel does not support SOCK_DIAG, or a security policy such as seccomp forbids it.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
        Ok(Self(Mutex::new(Queries { socket, sequence: 0 })))
    }

    /// Returns the user ID of the socket at the address `own` that communicates with `peer`. `None` if there is no such
    /// socket.
    pub(super) fn uid(
        &self,
        protocol: Protocol,
        own: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<Option<u32>> {
        let mut queries = self.0.lock();
        queries.sequence = queries.sequence.wrapping_add(1);
        let sequence = queries.sequence;
        send(&queries.socket, &request(protocol, own, peer, sequence), SendFlags::empty())?;
        let mut answer = [0; 1024];
        // The kernel has queued the answer when `send` returns. An earlier query may have left its answer unread.
        loop {
            let (length, _) = recv(&queries.socket, &mut answer[..], RecvFlags::empty())?;
            let answer = &answer[..length.min(1024)];
            if number(answer, SEQUENCE) == Some(sequence) {
                return Ok(uid(answer, own.port()));
            }
        }
    }
}

/// Builds `nlmsghdr` and `inet_diag_req_v2`: native byte order, except ports and addresses, which are in network byte
/// order.
fn request(protocol: Protocol, own: SocketAddr, peer: SocketAddr, sequence: u32) -> [u8; REQUEST] {
    // For UDP, the kernel looks for the receiver of a packet from the first address to the second (`udp_dump_one` in
    // net/ipv4/udp_diag.c). For TCP, the first address is that of the socket.
    let (first, second) = match protocol {
        Protocol::Tcp => (own, peer),
        Protocol::Udp => (peer, own),
    };
    let mut request = [0; REQUEST];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        request[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&72_u32.to_ne_bytes());
    put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(&NLM_F_REQUEST.to_ne_bytes());
    put(&sequence.to_ne_bytes());
    put(&[0; 4]);
    let family = if own.is_ipv4() { AF_INET } else { AF_INET6 };
    put(&[family, protocol as u8, 0, 0]);
    put(&u32::MAX.to_ne_bytes());
    put(&first.port().to_be_bytes());
    put(&second.port().to_be_bytes());
    put(&octets(first.ip()));
    put(&octets(second.ip()));
    put(&[0; 4]);
    // The value for "no cookie" (INET_DIAG_NOCOOKIE).
    put(&[0xff; 8]);
    request
}

/// Returns the octets of an address, followed by zeros for IPv4.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Returns the user ID in an answer about a socket with the port `own`. `None` if the answer is an error, about another
/// socket, or about a closed socket, which has no inode.
fn uid(answer: &[u8], own: u16) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != SOCK_DIAG_BY_FAMILY || answer.len() < ANSWER || number(answer, INODE) == Some(0) {
        return None;
    }
    let port = u16::from_be_bytes(answer.get(PORT..PORT + 2)?.try_into().ok()?);
    number(answer, UID).filter(|_| port == own)
}

fn number(answer: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?))
}

const _: () = assert!(REQUEST == 72 && ANSWER == 88);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn own_uid() -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }

    #[test]
    fn the_owner_of_a_udp_socket_is_found_whether_it_is_connected_or_not() {
        let owners = SocketOwners::open().unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let server = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
            let unconnected = UdpSocket::bind((ip, 0)).unwrap();
            let everywhere = UdpSocket::bind(match ip {
                IpAddr::V4(_) => "0.0.0.0:0",
                IpAddr::V6(_) => "[::]:0",
            });
            let everywhere = everywhere.unwrap();
            let connected = UdpSocket::bind((ip, 0)).unwrap();
            connected.connect(server).unwrap();
            for socket in [&unconnected, &everywhere, &connected] {
                let client = SocketAddr::new(ip, socket.local_addr().unwrap().port());
                assert_eq!(owners.uid(Protocol::Udp, client, server).unwrap(), own_uid(), "{client}");
            }
            let gone = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
            assert_eq!(owners.uid(Protocol::Udp, gone, server).unwrap(), None);
        }
    }

    #[test]
    fn the_owner_of_a_tcp_connection_is_found_and_its_listener_is_not() {
        let owners = SocketOwners::open().unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let server = listener.local_addr().unwrap();
            let client = TcpStream::connect(server).unwrap();
            let address = client.local_addr().unwrap();
            assert_eq!(owners.uid(Protocol::Tcp, address, server).unwrap(), own_uid());
            // Without this client, the kernel would find the listener for some questions.
            assert_eq!(owners.uid(Protocol::Tcp, SocketAddr::new(ip, 1), server).unwrap(), None);
        }
    }

    #[test]
    fn an_answer_about_another_socket_is_ignored() {
        let owners = SocketOwners::open().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        // With the two addresses exchanged, the kernel finds the server.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (server, client) = (server.local_addr().unwrap(), client.local_addr().unwrap());
        let mut answer = [0; 256];
        let queries = owners.0.lock();
        send(&queries.socket, &request(Protocol::Udp, server, client, 9), SendFlags::empty()).unwrap();
        let (length, _) = recv(&queries.socket, &mut answer[..], RecvFlags::empty()).unwrap();
        assert_eq!(uid(&answer[..length], server.port()), own_uid());
        assert_eq!(uid(&answer[..length], client.port()), None);
    }
}
