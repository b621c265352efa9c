//! Access control for clients that do not present the secret of the bridge.

#[cfg(target_os = "linux")]
mod descriptors;

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpStream, UnixStream},
    time::Instant,
};

#[cfg(target_os = "linux")]
use super::socket_diagnostics::{Protocol, SocketDiagnostics};

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
    ///
    /// The web browsers of this user are accepted too. A website can make a browser send requests to loopback listeners
    /// (cross-origin requests, DNS rebinding). The bridge forwards these requests with the identity of this process,
    /// and does not check their `Host` and `Origin` headers. The proxy is not affected, because a browser that is not
    /// configured to use it cannot send it a request in absolute form. Use `SameUser` only for users without a browser,
    /// or for services that check the `Host` header.
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

/// The result of access control for the client of an accepted connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The bridge accepts the client without the secret.
    Accepted,
    /// The client belongs to the same user. It needs the secret.
    SameUser,
    /// The client belongs to the user with this ID. `None` if the kernel cannot identify the user. The client needs the
    /// secret.
    OtherUser(Option<u32>),
    /// The client has closed the connection.
    Gone,
    /// The check needs a scan of the file descriptors of this process. Check the client again at this time.
    Later(Instant),
}

/// Decides whether the bridge accepts a client that does not present the secret.
#[derive(Debug)]
pub(crate) struct AccessControl {
    access: Access,
    /// Finds the owner of a TCP connection. `None` if the kernel cannot identify owners, or if `Access` does not need
    /// them.
    #[cfg(target_os = "linux")]
    owners: Option<Owners>,
}

/// Identifies the owner of a TCP connection.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Owners {
    diagnostics: SocketDiagnostics,
    own: descriptors::OwnDescriptors,
}

#[cfg(target_os = "linux")]
impl Owners {
    fn new() -> io::Result<Self> {
        Ok(Self { diagnostics: SocketDiagnostics::open()?, own: descriptors::OwnDescriptors::new()? })
    }
}

impl AccessControl {
    /// Creates the access control of a bridge. If the system cannot identify the owner of a TCP connection, TCP clients
    /// need the secret.
    pub(super) fn new(access: Access) -> Self {
        #[cfg(target_os = "linux")]
        {
            Self::with_owners(access, Owners::new())
        }
        #[cfg(not(target_os = "linux"))]
        {
            Self { access }
        }
    }

    #[cfg(target_os = "linux")]
    fn with_owners(access: Access, owners: io::Result<Owners>) -> Self {
        let owners = match owners {
            _ if access == Access::Any => None,
            Ok(owners) => Some(owners),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the kernel does not identify the owner of a TCP connection (SOCK_DIAG or /proc is not available): \
                     TCP clients of the bridge need its secret; Unix sockets are not affected"
                );
                None
            }
        };
        Self { access, owners }
    }

    /// Returns whether TCP clients can be accepted without the secret.
    pub(super) fn accepts_tcp_without_secret(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            self.access == Access::Any || self.owners.is_some()
        }
        #[cfg(not(target_os = "linux"))]
        {
            self.access == Access::Any
        }
    }

    /// Checks the client of a TCP connection that was accepted at `accepted_at`. Does not wait.
    #[cfg(target_os = "linux")]
    pub(super) fn check_tcp(&self, accepted: &AcceptedConnection, accepted_at: Instant) -> Verdict {
        use self::descriptors::Found;

        if self.access == Access::Any {
            return Verdict::Accepted;
        }
        let Some(owners) = &self.owners else {
            return Verdict::OtherUser(None);
        };
        let socket = match owners.diagnostics.find(Protocol::Tcp, accepted.client, accepted.server) {
            Ok(Some(socket)) => socket,
            Ok(None) => return Verdict::Gone,
            Err(error) => {
                tracing::debug!(%error, "the kernel did not identify the user of a client of the bridge");
                return Verdict::OtherUser(None);
            }
        };
        if socket.uid != rustix::process::geteuid().as_raw() {
            return Verdict::OtherUser(Some(socket.uid));
        }
        if self.access == Access::SameUser {
            return Verdict::Accepted;
        }
        match owners.own.find_socket(socket.inode, accepted.descriptor, accepted_at) {
            Ok(Found::Yes) => Verdict::Accepted,
            Ok(Found::No) => Verdict::SameUser,
            Ok(Found::At(time)) => Verdict::Later(time),
            Err(error) => {
                tracing::debug!(%error, "the bridge cannot read the descriptors of this process");
                Verdict::SameUser
            }
        }
    }

    /// Checks the client of a TCP connection. Systems other than Linux cannot identify the owner of the connection.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn check_tcp(&self, _accepted: &AcceptedConnection, _accepted_at: Instant) -> Verdict {
        if self.access == Access::Any { Verdict::Accepted } else { Verdict::OtherUser(None) }
    }

    /// Checks the client of a Unix socket. The kernel records the credentials of the client (`SO_PEERCRED`).
    pub(super) fn check_unix(&self, accepted: &UnixStream) -> Verdict {
        if self.access == Access::Any {
            return Verdict::Accepted;
        }
        let Ok(peer) = accepted.peer_cred() else {
            return Verdict::OtherUser(None);
        };
        let is_this_process = peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id());
        let is_same_user = peer.uid() == rustix::process::geteuid().as_raw();
        match self.access {
            Access::SameProcess if is_this_process => Verdict::Accepted,
            Access::SameUser if is_same_user => Verdict::Accepted,
            _ if is_same_user => Verdict::SameUser,
            _ => Verdict::OtherUser(Some(peer.uid())),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
