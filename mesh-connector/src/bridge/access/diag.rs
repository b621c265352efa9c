//! Finds the owner of a TCP connection with the kernel's socket diagnostics (`sock_diag(7)`).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::AcceptedConnection;

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
const IPPROTO_TCP: u8 = 6;
const HEADER: usize = 16;
/// The offset of the two ports in `inet_diag_msg`: after family, state, timer and retransmissions. The two addresses,
/// of 16 bytes each, follow.
const PORTS: usize = HEADER + 4;
const ADDRESSES: usize = PORTS + 4;
const REQUEST: usize = HEADER + 56;
/// The offset of the user ID in `inet_diag_msg`: after family, state, timer, retransmissions, addresses, two queues and
/// a timer.
const UID: usize = HEADER + 64;
const INODE: usize = UID + 4;
/// The offset of the sequence number in `nlmsghdr`.
const SEQUENCE: usize = 8;

/// A socket for queries to the kernel. It is opened once, because a query must not fail if no descriptor is free.
#[derive(Debug)]
pub(super) struct SocketDiagnostics(Mutex<Queries>);

#[derive(Debug)]
struct Queries {
    socket: OwnedFd,
    /// The number of the last query, by which its answer is recognised.
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
        let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        diagnostics.0.lock().lookup(nobody, nobody)?;
        Ok(diagnostics)
    }

    /// Returns the client's socket of an accepted connection. `None` if the client has closed it (the kernel then
    /// reports inode 0).
    ///
    /// # Errors
    ///
    /// The query failed, or the connection is not IPv4.
    pub(super) fn client_of(&self, accepted: &AcceptedConnection) -> io::Result<Option<Socket>> {
        match (accepted.client, accepted.server) {
            (SocketAddr::V4(client), SocketAddr::V4(server)) => self.0.lock().lookup(client, server),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Queries {
    fn lookup(&mut self, own: SocketAddrV4, other: SocketAddrV4) -> io::Result<Option<Socket>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, own, other);
        send(&self.socket, &request, SendFlags::empty())?;
        let mut answer = [0; 512];
        loop {
            // The kernel has queued the answer when `send` returns. Before it, the queue may contain the answer to an
            // earlier query that failed.
            let (length, _) = recv(&self.socket, &mut answer[..], RecvFlags::empty())?;
            let answer = &answer[..length.min(512)];
            if number(answer, SEQUENCE) == Some(self.sequence) {
                return parse(answer, own, other);
            }
        }
    }
}

/// Builds `nlmsghdr` and `inet_diag_req_v2`: native byte order, except ports and addresses, which are in network byte
/// order.
fn request(sequence: u32, own: SocketAddrV4, other: SocketAddrV4) -> [u8; REQUEST] {
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
    put(&[AF_INET, IPPROTO_TCP, 0, 0]);
    put(&u32::MAX.to_ne_bytes());
    put(&own.port().to_be_bytes());
    put(&other.port().to_be_bytes());
    put(&own.ip().octets());
    put(&[0; 12]);
    put(&other.ip().octets());
    put(&[0; 12]);
    put(&[0; 4]);
    // The value for "no cookie" (INET_DIAG_NOCOOKIE).
    put(&[0xff; 8]);
    request
}

/// Parses the answer for the connection from `own` to `other`. If there is no such connection, the kernel answers with a
/// listening socket that has the address `own`. Such an answer contains other ports and addresses.
fn parse(answer: &[u8], own: SocketAddrV4, other: SocketAddrV4) -> io::Result<Option<Socket>> {
    let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "an unexpected answer of SOCK_DIAG");
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
    let (Some(uid), Some(inode)) = (number(answer, UID), number(answer, INODE)) else {
        return Err(unexpected());
    };
    let is_the_client = ends == [Some(own), Some(other)];
    Ok((is_the_client && inode != 0).then_some(Socket { uid, inode }))
}

/// Returns an end of the connection in an answer. A client can use an IPv6 socket for an IPv4 connection, which then
/// has IPv4-mapped addresses.
fn end(answer: &[u8], port: usize, ip: usize) -> Option<SocketAddrV4> {
    let port = u16::from_be_bytes(*answer.get(port..)?.first_chunk()?);
    let ip: [u8; 16] = *answer.get(ip..)?.first_chunk()?;
    let ip = match *answer.get(HEADER)? {
        AF_INET => Ipv4Addr::from(*ip.first_chunk::<4>()?),
        _ => Ipv6Addr::from(ip).to_ipv4_mapped()?,
    };
    Some(SocketAddrV4::new(ip, port))
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

const _: () = assert!(REQUEST == 72 && UID == 80);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn v4(address: io::Result<SocketAddr>) -> SocketAddrV4 {
        match address.unwrap() {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address}"),
        }
    }

    #[test]
    fn a_listening_socket_with_the_address_of_a_client_is_not_the_client() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, server_address) = (v4(listener.local_addr()), v4(server.local_addr()));
        assert_eq!(diagnostics.0.lock().lookup(address, server_address).unwrap(), None);
    }

    #[test]
    fn a_client_with_an_ipv6_socket_is_found() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), v4(server.local_addr()).port()));
        let Ok(client) = TcpStream::connect(mapped) else {
            return;
        };
        let accepted = server.accept().unwrap().0;
        let (own, other) = (v4(accepted.peer_addr()), v4(accepted.local_addr()));
        assert!(client.local_addr().unwrap().is_ipv6());
        assert!(diagnostics.0.lock().lookup(own, other).unwrap().is_some());
    }

    #[test]
    fn each_of_many_connections_has_its_own_socket() {
        let diagnostics = SocketDiagnostics::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = v4(listener.local_addr());
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
        let mut inodes: Vec<_> = clients
            .iter()
            .map(|client| {
                diagnostics.0.lock().lookup(v4(client.local_addr()), server).unwrap().unwrap().inode
            })
            .collect();
        inodes.sort_unstable();
        inodes.dedup();
        assert_eq!(inodes.len(), 10);
    }
}
