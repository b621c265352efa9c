//! Reads a TLS ClientHello without consuming it, like Envoy's `tls_inspector`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The maximum length of a ClientHello that Envoy inspects.
const LIMIT: usize = 64 * 1024;
/// The first byte of a TLS connection: the content type of a handshake record.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// The fields of a ClientHello that decide how a connection is handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Vec<String>,
}

impl Hello {
    /// Returns whether the client offers one of the five ALPN protocols that Istio's filter chains match (istio
    /// `pilot/pkg/networking/util/util.go`).
    pub(crate) fn is_istio(&self) -> bool {
        self.offers_http() || self.alpn.iter().any(|it| it == "istio" || it == "istio-peer-exchange")
    }

    /// Returns whether the client offers one of Istio's three ALPN protocols for HTTP.
    pub(crate) fn offers_http(&self) -> bool {
        self.alpn.iter().any(|it| matches!(it.as_str(), "istio-http/1.0" | "istio-http/1.1" | "istio-h2"))
    }
}

/// The kind of a connection, detected from its first bytes.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The connection starts with a complete ClientHello.
    Tls(Hello),
    /// The connection does not start with a valid and complete ClientHello. Envoy treats it as plaintext.
    Other,
    /// The peer closed the connection before it sent a byte.
    Closed,
}

/// Reads until the kind of the connection is known. After the call, `bytes` contains everything that was read from the
/// stream.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<Opening> {
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(if bytes.is_empty() { Opening::Closed } else { Opening::Other });
        }
        bytes.extend_from_slice(&chunk[..count]);
        if bytes[0] != HANDSHAKE || bytes.len() > LIMIT {
            return Ok(Opening::Other);
        }
        while fed < bytes.len() {
            match acceptor.read_tls(&mut &bytes[fed..])? {
                0 => break,
                taken => fed += taken,
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let alpn = hello.alpn().into_iter().flatten();
                    return Ok(Opening::Tls(Hello {
                        sni: hello.server_name().map(str::to_ascii_lowercase),
                        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
                    }));
                }
                Err(_) => return Ok(Opening::Other),
            }
        }
    }
}

/// A stream that first returns bytes that were read from it before.
#[derive(Debug)]
pub(crate) struct Replay<S> {
    bytes: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Replay<S> {
    pub(crate) fn new(bytes: Vec<u8>, stream: S) -> Self {
        Self { bytes, given: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.bytes[self.given..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
