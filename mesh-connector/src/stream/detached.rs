//! Streams detached from the tokio reactor.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::MeshStream;
use crate::{connection::ConnectionInfo, socket::Socket};

/// A [`MeshStream`] without a tokio reactor, for threads that call `poll(2)` themselves. [`MeshStream::detach`] returns
/// it.
///
/// Operations that cannot proceed return `Pending` immediately. They do not register the waker. The caller then waits
/// until [`as_fd`](AsFd::as_fd) is readable (after a read) or writable (after a write, flush or shutdown). Any thread
/// can poll the stream, with [`Waker::noop`](std::task::Waker::noop).
///
/// A tokio reactor wakes up for all data that arrives on its streams, even if no task reads. If a thread of the program
/// reads the stream itself, each wake-up of the reactor thread is unnecessary work.
#[derive(Debug)]
pub struct DetachedStream(MeshStream);

impl MeshStream {
    /// Deregisters the stream from its tokio reactor, for a thread that calls `poll(2)` itself.
    ///
    /// # Errors
    ///
    /// The reactor cannot deregister the socket.
    pub fn detach(mut self) -> io::Result<DetachedStream> {
        self.socket_mut().deregister()?;
        Ok(DetachedStream(self))
    }
}

impl DetachedStream {
    /// Registers the stream with the current tokio reactor.
    ///
    /// # Errors
    ///
    /// The reactor cannot register the socket.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn attach(mut self) -> io::Result<MeshStream> {
        self.0.socket_mut().register()?;
        Ok(self.0)
    }

    /// Returns the properties of the connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        self.0.connection()
    }
}

impl AsFd for DetachedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0.socket() {
            Socket::Detached(tcp) => tcp.as_fd(),
            Socket::Registered(_) | Socket::Empty => unreachable!("`detach` has deregistered the socket"),
        }
    }
}

impl AsyncRead for DetachedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for DetachedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
