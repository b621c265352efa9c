//! The stream that a caller gets.

mod unwatched;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

#[cfg(feature = "bridge")]
use tokio::io::AsyncBufRead as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

pub use self::unwatched::UnwatchedStream;
use crate::{ConnectionInfo, Error, ErrorKind, hosts::Held, metrics::Meter, socket::Socket};

/// A connection to a service: bytes in and out, protected as [`connection`](Self::connection) says.
///
/// Shutting down the writing side sends TLS' end of data and closes that direction of the TCP connection; the other
/// direction stays open.
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
    /// What was read of plaintext for somebody who passes it on.
    #[cfg(feature = "bridge")]
    chunk: Chunk,
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
    pub(crate) fn new(io: Io, connection: ConnectionInfo) -> Self {
        Self {
            io,
            connection,
            has_read: false,
            #[cfg(feature = "bridge")]
            chunk: Chunk::default(),
            held: None,
            meter: Meter::default(),
        }
    }

    /// The same stream, as one of its endpoint's connections.
    pub(crate) fn holding(self, held: Arc<Held>) -> Self {
        Self { held: Some(held), ..self }
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

    /// What can be read now, where TLS has put it; empty at the end. What is not consumed comes again. For those who pass
    /// it on: [`AsyncRead`] does not know of what is left of a chunk of plaintext.
    #[cfg(feature = "bridge")]
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { io, connection, has_read, chunk, held, .. } = self;
        let read = match io {
            Io::Plaintext(tcp) => ready!(chunk.poll_fill(tcp, cx)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_fill_buf(cx)) {
                Err(error) if !*has_read => Err(refused(connection, held.as_deref(), error)),
                read => read,
            },
        };
        *has_read |= read.is_ok();
        Poll::Ready(read)
    }

    /// So many bytes of the chunk have been passed on.
    #[cfg(feature = "bridge")]
    pub(crate) fn consume(&mut self, bytes: usize) {
        match &mut self.io {
            Io::Plaintext(_) => self.chunk.left.start += bytes,
            Io::Tls(tls) => Pin::new(tls).consume(bytes),
        }
        self.meter.read(bytes);
    }
}

/// What was read and not passed on.
#[cfg(feature = "bridge")]
#[derive(Debug, Default)]
struct Chunk {
    buffer: Vec<u8>,
    left: std::ops::Range<usize>,
}

#[cfg(feature = "bridge")]
impl Chunk {
    const SIZE: usize = 16 * 1024;

    fn poll_fill(&mut self, tcp: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.left.is_empty() {
            self.buffer.resize(Self::SIZE, 0);
            let mut buffer = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
            self.left = 0..buffer.filled().len();
        }
        Poll::Ready(Ok(&self.buffer[self.left.clone()]))
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = match &mut this.io {
            Io::Plaintext(tcp) => ready!(Pin::new(tcp).poll_read(cx, buf)),
            Io::Tls(tls) => match ready!(Pin::new(tls).poll_read(cx, buf)) {
                Err(error) if !this.has_read => Err(refused(&this.connection, this.held.as_deref(), error)),
                read => read,
            },
        };
        if read.is_ok() {
            this.has_read = true;
            this.meter.read(buf.filled().len() - before);
        }
        Poll::Ready(read)
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
