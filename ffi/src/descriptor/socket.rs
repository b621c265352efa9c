//! The identity of a socket. The library uses it to find the connection behind a descriptor of the program.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{FileType, fstat},
    net::sockopt::socket_cookie,
};

/// Identifies a socket, independent of the descriptors that refer to it.
///
/// The inode alone is not enough: files of other file systems have inodes with the same number, and the system reuses
/// the inode of a closed socket. The cookie of a socket is never reused (`SO_COOKIE` in socket(7)). The cookie is
/// `None` on a system without socket cookies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct SocketId {
    device: u64,
    inode: u64,
    cookie: Option<u64>,
}

impl SocketId {
    /// Returns the identity of the socket that the descriptor refers to, or `None` if the descriptor does not refer to
    /// a socket.
    pub(crate) fn of(fd: impl AsFd) -> io::Result<Option<Self>> {
        let stat = fstat(&fd)?;
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        Ok(is_socket.then(|| Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            cookie: socket_cookie(&fd).ok(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn copies_of_a_descriptor_have_the_same_identity_and_other_sockets_another() {
        let (one, other) = UnixStream::pair().unwrap();
        let of = |socket: &UnixStream| SocketId::of(socket).unwrap().unwrap();
        assert_eq!(of(&one), of(&one.try_clone().unwrap()));
        assert_ne!(of(&one), of(&other));
    }

    #[test]
    fn a_file_or_a_pipe_is_not_a_socket() {
        assert_eq!(SocketId::of(File::open("/dev/null").unwrap()).unwrap(), None);
        assert_eq!(SocketId::of(io::pipe().unwrap().0).unwrap(), None);
    }

    #[test]
    fn a_socket_whose_inode_is_reused_has_another_identity() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let id = SocketId::of(&socket).unwrap().unwrap();
        assert_ne!(id, SocketId { device: id.device + 1, ..id });
        assert_ne!(id, SocketId { cookie: id.cookie.map(|cookie| cookie + 1), ..id });
    }
}
