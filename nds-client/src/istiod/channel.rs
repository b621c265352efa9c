//! A gRPC channel over an open TLS connection.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::rejection::certificate_alert;
use crate::{identity::credentials::Credentials, transport::Io};

/// A TLS connection to istiod.
pub(super) type Stream = TlsStream<Box<dyn Io>>;

/// The interval between keepalive pings. istiod closes connections that send a ping more often than every 15 s (istio
/// `pilot/pkg/grpc/grpc.go`).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const WINDOW: u32 = 1 << 20;

/// A gRPC connection to istiod, for one xDS stream or for certificate requests.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    pub(crate) credentials: Credentials,
    /// The TLS alert by which istiod rejected the client certificate; empty if none arrived. In TLS 1.3 the alert
    /// arrives after the handshake, and the gRPC call that is active then reports only a lost connection.
    pub(super) alert: Arc<OnceLock<AlertDescription>>,
}

pub(super) async fn channel(
    stream: Stream,
    credentials: Credentials,
) -> Result<Connection, tonic::transport::Error> {
    let alert = Arc::<OnceLock<_>>::default();
    let stream = AlertRecorder { stream, alert: alert.clone() };
    let channel = Endpoint::from_static("http://istiod")
        .origin(Uri::from_static("https://istiod"))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(Opened(Some(stream)))
        .await?;
    Ok(Connection { channel, credentials, alert })
}

/// Passes the open connection to tonic, once.
struct Opened(Option<AlertRecorder>);

impl Service<Uri> for Opened {
    type Response = TokioIo<AlertRecorder>;
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

/// A stream that records a TLS alert about the client certificate.
struct AlertRecorder {
    stream: Stream,
    alert: Arc<OnceLock<AlertDescription>>,
}

impl AlertRecorder {
    fn record<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome
            && let Some(alert) = certificate_alert(error)
        {
            // Only the first alert is stored: it is the relevant one.
            let _ = self.alert.set(alert);
        }
        outcome
    }
}

impl AsyncRead for AlertRecorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.record(outcome)
    }
}

impl AsyncWrite for AlertRecorder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.record(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.record(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.record(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.record(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
