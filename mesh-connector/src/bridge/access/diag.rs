//! Finds the owner of a TCP connection with the kernel's socket diagnostics (`sock_diag(7)`).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

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
const REQUEST: usize = HEADER + 56;
/// The offset of the user ID in `inet_diag_msg`: after family, state, timer, retransmissions, addresses, two queues and
/// a timer.
const UID: usize = HEADER + 64;
const INODE: usize = UID + 4;
const ANSWER: usize = INODE + 4;

/// Returns the client's socket of an accepted connection. `None` if the client has closed it (the kernel then reports
/// inode 0), and for IPv6.
pub(super) fn client_of(accepted: &AcceptedConnection) -> io::Result<Option<Socket>> {
    match (accepted.client, accepted.server) {
        (SocketAddr::V4(client), SocketAddr::V4(server)) => lookup(client, server),
        _ => Ok(None),
    }
}

/// Checks that the kernel supports the query (`SOCK_DIAG`) for TCP sockets.
pub(super) fn probe() -> io::Result<()> {
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    lookup(nobody, nobody).map(|_| ())
}

fn lookup(own: SocketAddrV4, other: SocketAddrV4) -> io::Result<Option<Socket>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(own, other), SendFlags::empty())?;
    let mut answer = [0; 512];
    // The kernel has queued the reply when `send` returns.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    Ok(parse(&answer[..length.min(512)]))
}

/// Builds `nlmsghdr` and `inet_diag_req_v2`: native byte order, except ports and addresses, which are in network byte
/// order.
fn request(own: SocketAddrV4, other: SocketAddrV4) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        request[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&72_u32.to_ne_bytes());
    put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(&NLM_F_REQUEST.to_ne_bytes());
    put(&[0; 8]);
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

fn parse(answer: &[u8]) -> Option<Socket> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind == NLMSG_ERROR || answer.len() < ANSWER {
        return None;
    }
    let number = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let socket = Socket { uid: number(UID)?, inode: number(INODE)? };
    (socket.inode != 0).then_some(socket)
}

const _: () = assert!(REQUEST == 72 && ANSWER == 88);
