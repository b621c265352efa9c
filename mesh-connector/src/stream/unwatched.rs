//! A stream that its owner waits for.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::MeshStream;
use crate::{connection::ConnectionInfo, socket::Socket};

/// A [`MeshStream`] that no runtime watches, for threads that block: `Pending` is said at once, no waker is ever woken, and
/// whoever wants to go on waits (`poll(2)`) until [`as_fd`](AsFd::as_fd) is readable, where something was read, or
/// writable, where something was written, flushed or shut down. It is polled by any thread, with
/// [`Waker::noop`](std::task::Waker::noop).
///
/// A runtime is woken by all that arrives for the streams that it watches, whether anybody reads or not. For a program
/// whose own thread reads, that is one thread more which is awake.
#[derive(Debug)]
pub struct UnwatchedStream(MeshStream);

impl UnwatchedStream {
    /// Takes a stream from its runtime.
    ///
    /// # Errors
    ///
    /// The runtime did not let go of it.
    pub fn new(mut stream: MeshStream) -> io::Result<Self> {
        stream.socket_mut().unwatch()?;
        Ok(Self(stream))
    }

    /// The stream, watched again by the runtime in which this is called.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn watched(mut self) -> io::Result<MeshStream> {
        self.0.socket_mut().watch()?;
        Ok(self.0)
    }

    /// What is known about this connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        self.0.connection()
    }
}

impl AsFd for UnwatchedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0.socket() {
            Socket::Unwatched(tcp) => tcp.as_fd(),
            Socket::Watched(_) | Socket::Gone => unreachable!("`new` has taken it"),
        }
    }
}

impl AsyncRead for UnwatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for UnwatchedStream {
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
