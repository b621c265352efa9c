//! Binding loopback sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::error::{Error, Result};
use crate::tasks::TaskGroup;

/// Any free port on loopback.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// As many waiting connections as the kernel gives.
const BACKLOG: u32 = 1024;
/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A listening socket, at once: no await, so that a change of the mesh is one step.
pub(crate) fn tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener> {
    let failed = |source| Error::Bind { what, address: address.to_string(), source };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)
}

/// Where a listener is.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|source| Error::Bind {
        what: "a listener",
        address: ANY.to_string(),
        source,
    })
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

/// The next connection. An error is one connection's, or a lack of descriptors that passes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it, small messages of two hops wait for each other's acknowledgements.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
