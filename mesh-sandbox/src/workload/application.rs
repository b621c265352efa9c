//! The built-in application of every endpoint: HTTP ports answer with JSON, TCP ports echo lines.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;

use super::caller::Caller;
use super::{echo, http};
use crate::hello::Replay;
use crate::model::Protocol;

/// Forwards one connection to another application. If the application does not accept the connection, the connection is
/// closed.
pub(crate) async fn hand_over(address: SocketAddr, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if let Ok(mut application) = TcpStream::connect(address).await {
        let _ = copy_bidirectional(&mut stream, &mut application).await;
    }
}

/// Serves one connection as the built-in application.
pub(crate) async fn run<S>(protocol: Protocol, caller: Caller, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if protocol.is_http() {
        return http::run(caller, stream).await;
    }
    if protocol != Protocol::Unsupported {
        return echo::run(&caller, stream).await;
    }
    // The port has no declared protocol: it is detected from the first bytes, as in a sidecar.
    let mut bytes = vec![0; 4096];
    let Ok(count @ 1..) = stream.read(&mut bytes).await else { return };
    bytes.truncate(count);
    let is_http = http::looks_like(&bytes);
    let stream = Replay::new(bytes, stream);
    if is_http { http::run(caller, stream).await } else { echo::run(&caller, stream).await }
}
