//! A gRPC channel over a connection that is open already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::transport::Io;

/// A TLS connection to istiod.
pub(super) type Stream = TlsStream<Box<dyn Io>>;

/// istiod closes connections that ping more often than every 15 s (istio `pilot/pkg/grpc/grpc.go`).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const WINDOW: u32 = 1 << 20;

pub(super) async fn channel(stream: Stream) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_static("http://istiod")
        .origin(Uri::from_static("https://istiod"))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(Opened(Some(stream)))
        .await
}

/// Hands the connection to tonic, once.
struct Opened(Option<Stream>);

impl Service<Uri> for Opened {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into());
        Box::pin(std::future::ready(stream))
    }
}
