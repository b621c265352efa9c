//! Streams to services.

mod buffer;
mod detached;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

pub(crate) use self::buffer::ReadBuffer;
pub use self::detached::DetachedStream;
use crate::{
    connection::ConnectionInfo,
    error::{Error, ErrorKind},
    hosts::ActiveConnection,
    metrics::Meter,
    socket::Socket,
};

/// A connection to a service. [`connection`](Self::connection) describes its endpoint and protection.
///
/// Shutting down the write half sends close_notify and closes that direction of the TCP connection. The other direction
/// stays open.
///
/// The stream implements [`AsyncBufRead`]: it lends data from the buffer of the TLS decryption, so forwarding and
/// in-place parsing need neither a copy nor a [`BufReader`](tokio::io::BufReader).
///
/// # Late rejections
///
/// In TLS 1.3, the handshake of the client completes before the peer has verified the client certificate. If the peer
/// rejects the certificate, connecting succeeds, and the first read fails: with an [`io::Error`] of kind
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) that wraps an [`Error`] of kind [`ErrorKind::Tls`].
///
/// The rejection counts as a failed attempt, so subsequent connections try other endpoints first. The stream does not
/// reconnect. The application behind the peer has received no data, because it had no connection yet, so the caller can
/// connect again and repeat its writes.
#[derive(Debug)]
pub struct MeshStream {
    io: Io,
    connection: ConnectionInfo,
    has_read: bool,
    /// Plaintext that was read from the connection and not yet consumed by the caller. The TLS stream has its own
    /// buffer.
    plaintext: ReadBuffer,
    /// Counts the connection, and records a late rejection. `None` for a connection to a host outside the mesh.
    active: Option<Arc<ActiveConnection>>,
    meter: Meter,
}

#[derive(Debug)]
pub(crate) enum Io {
    Plaintext(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl MeshStream {
    /// Creates a stream that counts as a connection of its endpoint if `active` is set. Its bytes are not counted
    /// before [`metered`](Self::metered).
    pub(crate) fn new(io: Io, connection: ConnectionInfo, active: Option<Arc<ActiveConnection>>) -> Self {
        let (plaintext, meter) = (ReadBuffer::default(), Meter::default());
        Self { io, connection, has_read: false, plaintext, active, meter }
    }

    /// Counts the bytes of the stream with `meter`.
    pub(crate) fn metered(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// Returns the properties of the connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        &self.connection
    }

    /// Returns the TCP connection, to set socket options. Data must go through the stream.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self.socket() {
            Socket::Registered(tcp) => tcp,
            Socket::Detached(_) | Socket::Empty => {
                unreachable!("a detached stream is not reachable as a MeshStream")
            }
        }
    }

    fn socket(&self) -> &Socket {
        match &self.io {
            Io::Plaintext(socket) => socket,
            Io::Tls(tls) => tls.get_ref().0,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match &mut self.io {
            Io::Plaintext(socket) => socket,
            Io::Tls(tls) => tls.get_mut().0,
        }
    }

    fn count(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if let Ok(bytes) = written {
            self.meter.written(bytes);
        }
        Poll::Ready(written)
    }
}

/// Converts an error before the first byte. If it is a TLS alert, the peer has rejected the client certificate.
fn late_rejection(info: &ConnectionInfo, active: Option<&ActiveConnection>, error: io::Error) -> io::Error {
    let alert = error.get_ref().and_then(|inside| inside.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = alert else {
        return error;
    };
    if let Some(active) = active {
        active.failed(ErrorKind::Tls);
    }
    let message = format!(
        "{} at {} rejected the certificate of this workload ({alert:?}): compare the roots and the trust domains of both workloads",
        info.peer_name().unwrap_or("the peer"),
        info.endpoint(),
    );
    io::Error::new(io::ErrorKind::PermissionDenied, Error::with_source(ErrorKind::Tls, message, error))
}

impl AsyncRead for MeshStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, connection, has_read, plaintext, active, meter } = self.get_mut();
        let before = buf.filled().len();
        let read = match io {
            Io::Plaintext(socket) => ready!(plaintext.poll_read(cx, socket, buf)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_read(cx, buf)) {
                Err(error) if !*has_read => Err(late_rejection(connection, active.as_deref(), error)),
                read => read,
            },
        };
        if read.is_ok() {
            *has_read = true;
            meter.read(buf.filled().len() - before);
        }
        Poll::Ready(read)
    }
}

impl AsyncBufRead for MeshStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { io, connection, has_read, plaintext, active, .. } = self.get_mut();
        let read = match io {
            Io::Plaintext(socket) => ready!(plaintext.poll_fill(cx, socket)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_fill_buf(cx)) {
                Err(error) if !*has_read => Err(late_rejection(connection, active.as_deref(), error)),
                read => read,
            },
        };
        *has_read |= read.is_ok();
        Poll::Ready(read)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        match &mut self.io {
            Io::Plaintext(_) => self.plaintext.consume(count),
            Io::Tls(tls) => Pin::new(tls).consume(count),
        }
        self.meter.read(count);
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.io {
            Io::Plaintext(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        });
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.io {
            Io::Plaintext(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        });
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plaintext(tcp) => tcp.is_write_vectored(),
            Io::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plaintext(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plaintext(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
