//! The stream that a caller gets.

mod buffer;
mod unwatched;

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
pub use self::unwatched::UnwatchedStream;
use crate::{
    connection::ConnectionInfo,
    error::{Error, ErrorKind},
    hosts::Held,
    metrics::Meter,
    socket::Socket,
};

/// A connection to a service: bytes in and out, protected as [`connection`](Self::connection) says.
///
/// Shutting down the writing side sends TLS' end of data and closes that direction of the TCP connection; the other
/// direction stays open.
///
/// It implements [`AsyncBufRead`]: what arrives over TLS is lent from where it was decrypted, so whoever passes it on,
/// or parses it in place, reads without a copy and needs no [`BufReader`](tokio::io::BufReader).
///
/// # Refusals that arrive late
///
/// In TLS 1.3 the handshake ends, from this side, before the peer has looked at our certificate. A peer that refuses
/// it says so at the first read, after connecting has succeeded: that read fails with an [`io::Error`] of kind
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) around an [`Error`] of kind [`ErrorKind::Tls`].
///
/// It counts as a failed attempt: connections that follow try other endpoints first. This connection is not made
/// again behind the caller's back. Nothing that was written has reached the application (it had no connection yet),
/// so a caller may connect anew and write it again, whatever it was.
#[derive(Debug)]
pub struct MeshStream {
    io: Io,
    connection: ConnectionInfo,
    has_read: bool,
    /// What was read of plaintext and not consumed. TLS has a buffer of its own.
    plaintext: ReadBuffer,
    /// Counts the connection, and is told of a refusal that arrives late.
    held: Option<Arc<Held>>,
    meter: Meter,
}

#[derive(Debug)]
pub(crate) enum Io {
    Plaintext(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl MeshStream {
    /// A stream that is one of its endpoint's connections, if `held` says so. Nothing is counted yet.
    pub(crate) fn new(io: Io, connection: ConnectionInfo, held: Option<Arc<Held>>) -> Self {
        let (plaintext, meter) = (ReadBuffer::default(), Meter::default());
        Self { io, connection, has_read: false, plaintext, held, meter }
    }

    /// The same stream, counted.
    pub(crate) fn metered(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// What is known about this connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        &self.connection
    }

    /// The TCP connection underneath, for socket options. Bytes go through the stream itself.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self.socket() {
            Socket::Watched(tcp) => tcp,
            Socket::Unwatched(_) | Socket::Gone => {
                unreachable!("an UnwatchedStream does not lend its stream")
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

/// An alert before the first byte is the peer's verdict on our certificate.
fn refused(info: &ConnectionInfo, held: Option<&Held>, error: io::Error) -> io::Error {
    let alert = error.get_ref().and_then(|inside| inside.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = alert else {
        return error;
    };
    if let Some(held) = held {
        held.failed(ErrorKind::Tls);
    }
    let message = format!(
        "{} at {} refused this workload's certificate ({alert:?}): compare roots and trust domain",
        info.peer_name().unwrap_or("the peer"),
        info.endpoint(),
    );
    io::Error::new(io::ErrorKind::PermissionDenied, Error::with_source(ErrorKind::Tls, message, error))
}

impl AsyncRead for MeshStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, connection, has_read, plaintext, held, meter } = self.get_mut();
        let before = buf.filled().len();
        let read = match io {
            Io::Plaintext(socket) => ready!(plaintext.poll_read(cx, socket, buf)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_read(cx, buf)) {
                Err(error) if !*has_read => Err(refused(connection, held.as_deref(), error)),
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
        let Self { io, connection, has_read, plaintext, held, .. } = self.get_mut();
        let read = match io {
            Io::Plaintext(socket) => ready!(plaintext.poll_fill(cx, socket)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_fill_buf(cx)) {
                Err(error) if !*has_read => Err(refused(connection, held.as_deref(), error)),
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
