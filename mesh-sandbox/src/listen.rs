//! Functions that bind and serve loopback sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::error::{Error, Result};
use crate::tasks::TaskGroup;

/// A loopback address with port 0, for which the system chooses a free port.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The maximum number of pending connections.
const BACKLOG: u32 = 1024;
/// The delay after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Binds a listening socket. The function is synchronous, because the code that applies a change to the mesh must not
/// be suspended by an `await`.
pub(crate) fn tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener> {
    let failed = |source| Error::bind(what, address, source);
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)
}

/// Returns the local address of a listener.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|source| Error::bind("a listener", ANY, source))
}

/// Serves each connection in a task of the group, until the future is dropped.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    connections: &TaskGroup,
    connection: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, peer) = accept(&listener).await;
        connections.spawn(connection(stream, peer));
    }
}

/// Accepts the next connection. If accepting fails, logs the error and tries again: the error concerns only one
/// connection, or is temporary, such as too many open files.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // With Nagle's algorithm, small messages would wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
