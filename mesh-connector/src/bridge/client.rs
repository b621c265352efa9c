//! Connections of local clients: TCP and Unix sockets.

use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{
    access::{AcceptedConnection, AccessControl},
    local_socket::LocalSocket,
};

/// The connection of a client to the bridge.
pub(super) trait Client: LocalSocket + 'static {
    /// Returns whether access control accepts the client without the secret of the bridge.
    fn is_allowed(&self, access_control: &AccessControl) -> impl Future<Output = bool> + Send;
}

/// A listening socket that accepts clients.
pub(super) trait Listener: Send + 'static {
    type Client: Client;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;
}

impl Client for TcpStream {
    async fn is_allowed(&self, access_control: &AccessControl) -> bool {
        match AcceptedConnection::of(self) {
            Ok(accepted) => access_control.allows_tcp(&accepted).await,
            // The socket has no addresses, because the connection is closed.
            Err(_) => false,
        }
    }
}

impl Client for UnixStream {
    async fn is_allowed(&self, access_control: &AccessControl) -> bool {
        access_control.allows_unix(self)
    }
}

impl Listener for TcpListener {
    type Client = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (client, _) = Self::accept(self).await?;
        client.set_nodelay(true)?;
        Ok(client)
    }
}

impl Listener for UnixListener {
    type Client = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }
}
