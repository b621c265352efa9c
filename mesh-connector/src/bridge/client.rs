//! The client's side of a connection: TCP or a Unix socket.

use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{
    access::{Accepted, Gate},
    local_socket::LocalSocket,
};

/// A client's connection.
pub(super) trait Client: LocalSocket + 'static {
    /// Whether the gate lets it in without a secret.
    fn admitted(&self, gate: &Gate) -> impl Future<Output = bool> + Send;
}

/// Where clients come in.
pub(super) trait Listener: Send + 'static {
    type Client: Client;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;
}

impl Client for TcpStream {
    async fn admitted(&self, gate: &Gate) -> bool {
        match Accepted::of(self) {
            Ok(accepted) => gate.admits_tcp(&accepted).await,
            // It has gone.
            Err(_) => false,
        }
    }
}

impl Client for UnixStream {
    async fn admitted(&self, gate: &Gate) -> bool {
        gate.admits_unix(self)
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
