//! Access control for clients that do not present the secret of the bridge.

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod diag;

use std::{io, net::SocketAddr};

use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

/// Specifies which clients a [`Bridge`](super::Bridge) accepts without its secret.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Access {
    /// All clients on this host. Any process that can connect to loopback then uses the identity of this process.
    Any,
    /// Clients in this process. The bridge checks that the peer of each connection is a socket of this process. Systems
    /// other than Linux cannot check this for TCP, so they reject all TCP clients without the secret.
    #[default]
    SameProcess,
    /// Clients of the same user. Systems other than Linux reject all TCP clients without the secret.
    SameUser,
}

/// The addresses and the file descriptor of an accepted TCP connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptedConnection {
    client: SocketAddr,
    server: SocketAddr,
    #[cfg(unix)]
    descriptor: std::os::fd::RawFd,
}

impl AcceptedConnection {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            client: stream.peer_addr()?,
            server: stream.local_addr()?,
            #[cfg(unix)]
            descriptor: std::os::fd::AsRawFd::as_raw_fd(stream),
        })
    }
}

/// Decides whether the bridge accepts a client that does not present the secret.
#[derive(Debug)]
pub(crate) struct AccessControl {
    access: Access,
    #[cfg(target_os = "linux")]
    own_descriptors: descriptors::OwnDescriptors,
}

#[cfg(target_os = "linux")]
impl AccessControl {
    /// # Errors
    ///
    /// `Listen`: the kernel does not support SOCK_DIAG.
    pub(super) fn new(access: Access) -> Result<Self, Error> {
        if access != Access::Any {
            diag::probe().map_err(|error| {
                let next = "the kernel cannot identify the owner of a connection (SOCK_DIAG is not available): use `Access::Any`";
                super::cannot_listen("loopback", next, error)
            })?;
        }
        Ok(Self { access, own_descriptors: descriptors::OwnDescriptors::default() })
    }

    pub(super) async fn allows_tcp(&self, accepted: &AcceptedConnection) -> bool {
        if self.access == Access::Any {
            return true;
        }
        // A client whose socket cannot be found, or is closed, is rejected.
        let Ok(Some(socket)) = diag::client_of(accepted) else {
            return false;
        };
        let same_user = socket.uid == rustix::process::geteuid().as_raw();
        match self.access {
            Access::Any => true,
            // Checking the user first avoids a scan of the descriptors for connections of other users.
            Access::SameProcess => {
                same_user && self.own_descriptors.contains_socket(socket.inode, accepted.descriptor).await
            }
            Access::SameUser => same_user,
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl AccessControl {
    pub(super) fn new(access: Access) -> Result<Self, Error> {
        Ok(Self { access })
    }

    /// Returns whether every client is accepted. Systems other than Linux cannot identify the owner of a TCP
    /// connection.
    pub(super) async fn allows_tcp(&self, _accepted: &AcceptedConnection) -> bool {
        self.access == Access::Any
    }
}

impl AccessControl {
    /// Returns whether the client of a Unix socket is accepted. The kernel records its credentials (`SO_PEERCRED`).
    pub(super) fn allows_unix(&self, accepted: &UnixStream) -> bool {
        let Ok(peer) = accepted.peer_cred() else {
            return false;
        };
        match self.access {
            Access::Any => true,
            Access::SameProcess => {
                peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id())
            }
            Access::SameUser => peer.uid() == rustix::process::geteuid().as_raw(),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
