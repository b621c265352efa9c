//! Who may use the bridge without its secret.

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod diag;

use std::{io, net::SocketAddr};

use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

/// Whose connections a [`Bridge`](super::Bridge) serves without its secret.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Access {
    /// Everybody's on this host. Whoever can connect to loopback speaks with this process' identity then.
    Any,
    /// This process' own: each accepted connection is traced back to one of this process' sockets. On TCP, Linux
    /// only; it takes some microseconds per connection and nothing per byte.
    #[default]
    SameProcess,
    /// Those of processes of the same user. On TCP, Linux only.
    SameUser,
}

/// What tells a connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    client: SocketAddr,
    server: SocketAddr,
    #[cfg(unix)]
    descriptor: std::os::fd::RawFd,
}

impl Accepted {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            client: stream.peer_addr()?,
            server: stream.local_addr()?,
            #[cfg(unix)]
            descriptor: std::os::fd::AsRawFd::as_raw_fd(stream),
        })
    }
}

/// Decides about each connection.
#[derive(Debug)]
pub(crate) struct Gate {
    access: Access,
    #[cfg(target_os = "linux")]
    own: descriptors::Own,
}

#[cfg(target_os = "linux")]
impl Gate {
    /// # Errors
    ///
    /// `Listen`: the kernel does not say whose a connection is.
    pub(super) fn new(access: Access) -> Result<Self, Error> {
        if access != Access::Any {
            diag::probe().map_err(|error| {
                let next = "the kernel does not say whose a connection is (SOCK_DIAG): `Access::Any` is what is left";
                super::cannot_listen("loopback", next, error)
            })?;
        }
        Ok(Self { access, own: descriptors::Own::default() })
    }

    pub(super) async fn admits_tcp(&self, accepted: &Accepted) -> bool {
        if self.access == Access::Any {
            return true;
        }
        // The client's own end of the connection; gone, or not to be found, is refused.
        let Ok(Some(socket)) = diag::client_of(accepted) else {
            return false;
        };
        let same_user = socket.uid == rustix::process::geteuid().as_raw();
        match self.access {
            Access::Any => true,
            // Other users' are told without a look at the descriptors, which they cannot make us spend.
            Access::SameProcess => same_user && self.own.has(socket.inode, accepted.descriptor).await,
            Access::SameUser => same_user,
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Gate {
    pub(super) fn new(access: Access) -> Result<Self, Error> {
        Ok(Self { access })
    }

    /// Nothing tells whose a TCP connection is.
    pub(super) async fn admits_tcp(&self, _accepted: &Accepted) -> bool {
        self.access == Access::Any
    }
}

impl Gate {
    /// The kernel notes who connected (`SO_PEERCRED`).
    pub(super) fn admits_unix(&self, accepted: &UnixStream) -> bool {
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
