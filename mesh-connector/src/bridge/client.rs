//! Connections of local clients: TCP and Unix sockets.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::Instant,
};

use super::{
    access::{AcceptedConnection, AccessControl, Verdict},
    local_socket::LocalSocket,
};

/// The connection of a client to the bridge.
pub(super) trait Client: LocalSocket + 'static {
    /// Checks the client, whose connection was accepted at `accepted_at`. Does not wait.
    fn check(&self, access_control: &AccessControl, accepted_at: Instant) -> Verdict;
}

/// A listening socket that accepts clients.
pub(super) trait Listener: Send + Sync + 'static {
    type Client: Client;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;

    /// Returns the address of a TCP listener.
    fn address(&self) -> Option<SocketAddr>;
}

impl Client for TcpStream {
    fn check(&self, access_control: &AccessControl, accepted_at: Instant) -> Verdict {
        match AcceptedConnection::of(self) {
            Ok(accepted) => access_control.check_tcp(&accepted, accepted_at),
            // The address of the socket cannot be read, because the connection is closed.
            Err(_) => Verdict::Gone,
        }
    }
}

impl Client for UnixStream {
    fn check(&self, access_control: &AccessControl, _accepted_at: Instant) -> Verdict {
        access_control.check_unix(self)
    }
}

impl Listener for TcpListener {
    type Client = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (client, _) = Self::accept(self).await?;
        // The call fails only if the client has closed the connection. An error here would pause the listener.
        let _ = client.set_nodelay(true);
        Ok(client)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }
}

impl Listener for UnixListener {
    type Client = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }
}
