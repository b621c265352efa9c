//! Finds the owner of a UDP or TCP socket of this host with the kernel's socket diagnostics (`sock_diag(7)`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The protocol of a socket, with its IP protocol number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Tcp = 6,
    Udp = 17,
}

/// The user ID of the owner, and the inode, of a socket on this host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Socket {
    pub(super) uid: u32,
    pub(super) inode: u32,
}

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const HEADER: usize = 16;
/// The offset of the two ports in `inet_diag_msg`: after family, state, timer and retransmissions. The two addresses,
/// of 16 bytes each, follow.
const PORTS: usize = HEADER + 4;
const ADDRESSES: usize = PORTS + 4;
const REQUEST: usize = HEADER + 56;
/// The offset of the user ID in `inet_diag_msg`: after the ports, the addresses, the interface, the cookie, a timer and
/// two queues.
const UID: usize = HEADER + 64;
const INODE: usize = UID + 4;
/// The offset of the sequence number in `nlmsghdr`.
const SEQUENCE: usize = 8;

/// A socket for queries to the kernel. The socket is opened once and reused, so that queries also work if no descriptor
/// is free.
#[derive(Debug)]
pub(super) struct SocketDiagnostics(Mutex<Queries>);

#[derive(Debug)]
struct Queries {
    socket: OwnedFd,
    /// The sequence number of the last query. The answer has the same number.
    sequence: u32,
}

impl SocketDiagnostics {
    /// Opens the socket, and checks that the kernel supports the query for TCP sockets.
    ///
    /// # Errors
    ///
    /// The kernel does not support SOCK_DIAG, or a security policy such as seccomp forbids it.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
        let diagnostics = Self(Mutex::new(Queries { socket, sequence: 0 }));
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        diagnostics.find(Protocol::Tcp, nobody, nobody)?;
        Ok(diagnostics)
    }

    /// Returns the socket with the address `own` that communicates with `peer`. `None` if there is no such socket, or if
    /// it is closed (the kernel then reports inode 0).
    pub(super) fn find(
        &self,
        protocol: Protocol,
        own: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<Option<Socket>> {
        let mut queries = self.0.lock();
        queries.sequence = queries.sequence.wrapping_add(1);
        let sequence = queries.sequence;
        send(&queries.socket, &request(protocol, own, peer, sequence), SendFlags::empty())?;
        let mut answer = [0; 1024];
        // The kernel has queued the answer when `send` returns. The queue may also contain the answer to an earlier
        // query that failed, in front of it.
        loop {
            let (length, _) = recv(&queries.socket, &mut answer[..], RecvFlags::empty())?;
            let answer = &answer[..length.min(1024)];
            if number(answer, SEQUENCE) == Some(sequence) {
                return parse(answer, protocol, own, peer);
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

/// Parses the answer about the socket with the address `own` that communicates with `peer`. If there is no such TCP
/// connection, the kernel answers with a listening socket that has the address `own`. The answer then contains the
/// address of another peer.
fn parse(answer: &[u8], protocol: Protocol, own: SocketAddr, peer: SocketAddr) -> io::Result<Option<Socket>> {
    let unexpected =
        || io::Error::new(io::ErrorKind::InvalidData, "unexpected SOCK_DIAG answer of the kernel");
    let kind = answer.get(4..6).ok_or_else(unexpected)?;
    if kind == NLMSG_ERROR.to_ne_bytes() {
        // The body of the message is a negative error number.
        let error = number(answer, HEADER).ok_or_else(unexpected)?.cast_signed().wrapping_neg();
        return match io::Error::from_raw_os_error(error) {
            error if error.kind() == io::ErrorKind::NotFound => Ok(None),
            error => Err(error),
        };
    }
    let ends = [(PORTS, ADDRESSES), (PORTS + 2, ADDRESSES + 16)].map(|(port, ip)| end(answer, port, ip));
    let ([Some(found), Some(found_peer)], Some(uid), Some(inode)) =
        (ends, number(answer, UID), number(answer, INODE))
    else {
        return Err(unexpected());
    };
    let is_the_socket = match protocol {
        Protocol::Tcp => (found, found_peer) == (canonical(own), canonical(peer)),
        // A UDP socket may be bound to all addresses and need not be connected.
        Protocol::Udp => found.port() == own.port(),
    };
    Ok((is_the_socket && inode != 0).then_some(Socket { uid, inode }))
}

/// Returns one of the two addresses of a connection, from an answer of the kernel.
fn end(answer: &[u8], port: usize, ip: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*answer.get(port..)?.first_chunk()?);
    let ip: [u8; 16] = *answer.get(ip..)?.first_chunk()?;
    let ip = match *answer.get(HEADER)? {
        AF_INET => IpAddr::V4(Ipv4Addr::from(*ip.first_chunk::<4>()?)),
        _ => IpAddr::V6(Ipv6Addr::from(ip)),
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// Returns the IPv4 form of an IPv4-mapped address. If a client uses an IPv6 socket for an IPv4 connection, the kernel
/// reports IPv4-mapped addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

const _: () = assert!(REQUEST == 72 && UID == 80);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn own_uid() -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }

    fn uid(
        diagnostics: &SocketDiagnostics,
        protocol: Protocol,
        own: SocketAddr,
        peer: SocketAddr,
    ) -> Option<u32> {
        diagnostics.find(protocol, own, peer).unwrap().map(|socket| socket.uid)
    }

    #[test]
    fn the_owner_of_a_udp_socket_is_found_whether_it_is_connected_or_not() {
        let diagnostics = SocketDiagnostics::open().unwrap();
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
                assert_eq!(uid(&diagnostics, Protocol::Udp, client, server), own_uid(), "{client}");
            }
            let gone = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
            assert_eq!(uid(&diagnostics, Protocol::Udp, gone, server), None);
        }
    }

    #[test]
    fn the_owner_of_a_tcp_connection_is_found_and_its_listener_is_not() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let server = listener.local_addr().unwrap();
            let client = TcpStream::connect(server).unwrap();
            let address = client.local_addr().unwrap();
            assert_eq!(uid(&diagnostics, Protocol::Tcp, address, server), own_uid());
            // Without this client, the kernel would find the listener for some questions.
            assert_eq!(uid(&diagnostics, Protocol::Tcp, SocketAddr::new(ip, 1), server), None);
        }
    }

    #[test]
    fn a_listening_socket_with_the_address_of_a_client_is_not_the_client() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, server_address) = (listener.local_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(diagnostics.find(Protocol::Tcp, address, server_address).unwrap(), None);
    }

    #[test]
    fn a_client_with_an_ipv6_socket_is_found() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mapped =
            SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), server.local_addr().unwrap().port()));
        let Ok(client) = TcpStream::connect(mapped) else {
            return;
        };
        let accepted = server.accept().unwrap().0;
        let (own, other) = (accepted.peer_addr().unwrap(), accepted.local_addr().unwrap());
        assert!(client.local_addr().unwrap().is_ipv6());
        assert!(diagnostics.find(Protocol::Tcp, own, other).unwrap().is_some());
    }

    #[test]
    fn each_of_many_connections_has_its_own_socket() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
        let mut inodes: Vec<_> = clients
            .iter()
            .map(|client| {
                diagnostics.find(Protocol::Tcp, client.local_addr().unwrap(), server).unwrap().unwrap().inode
            })
            .collect();
        inodes.sort_unstable();
        inodes.dedup();
        assert_eq!(inodes.len(), 10);
    }
}
