//! The TCP socket under a stream. Writing to it never raises SIGPIPE, whatever the process has set: a library that did would
//! end programs that are not its own.

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    os::fd::AsFd as _,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) enum Socket {
    /// A runtime says when it is ready.
    Watched(TcpStream),
    /// Nobody does: see [`UnwatchedStream`](crate::UnwatchedStream).
    Unwatched(std::net::TcpStream),
    /// On its way from one to the other, or lost there.
    Gone,
}

impl Socket {
    pub(crate) fn unwatch(&mut self) -> io::Result<()> {
        if let Self::Watched(tcp) = std::mem::replace(self, Self::Gone) {
            *self = Self::Unwatched(tcp.into_std()?);
        }
        Ok(())
    }

    /// In a runtime.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        if let Self::Unwatched(tcp) = std::mem::replace(self, Self::Gone) {
            *self = Self::Watched(TcpStream::from_std(tcp)?);
        }
        Ok(())
    }
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Watched(tcp)
    }
}

/// What is not ready is not waited for.
fn at_once<T>(mut work: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Watched(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unwatched(tcp) => {
                at_once(|| tcp.read(buf.initialize_unfilled())).map_ok(|bytes| buf.advance(bytes))
            }
            Self::Gone => gone(),
        }
    }
}

impl AsyncWrite for Socket {
    /// By `send` with MSG_NOSIGNAL, in both.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Watched(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unwatched(tcp) => at_once(|| tcp.write(buf)),
            Self::Gone => gone(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (&mut *self, bufs) {
            (_, [only]) => self.poll_write(cx, only),
            (Self::Watched(tcp), _) => vectored::poll_watched(tcp, cx, bufs),
            (Self::Unwatched(tcp), _) => at_once(|| vectored::send(tcp.as_fd(), bufs)),
            (Self::Gone, _) => gone(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Watched(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unwatched(tcp) => Poll::Ready(tcp.shutdown(std::net::Shutdown::Write)),
            Self::Gone => gone(),
        }
    }
}

/// Several pieces at a time. `writev`, which is what `std` and tokio do, would raise the signal.
#[cfg(target_os = "linux")]
mod vectored {
    use std::{
        io::{self, IoSlice},
        os::fd::BorrowedFd,
        task::{Context, Poll, ready},
    };

    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    use tokio::{io::Interest, net::TcpStream};

    /// No system takes more (UIO_MAXIOV is 1024, and rustls has fewer).
    const MOST: usize = 1024;

    pub(super) fn send(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MOST)];
        Ok(sendmsg(socket, bufs, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    pub(super) fn poll_watched(
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        use std::os::fd::AsFd as _;

        loop {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_io(Interest::WRITABLE, || send(tcp.as_fd(), bufs)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Elsewhere `std` sets what there is of the kind (SO_NOSIGPIPE) on every socket.
#[cfg(not(target_os = "linux"))]
mod vectored {
    use std::{
        io::{self, IoSlice, Write as _},
        os::fd::BorrowedFd,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::{io::AsyncWrite as _, net::TcpStream};

    pub(super) fn send(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        socket2::SockRef::from(&socket).write_vectored(bufs)
    }

    pub(super) fn poll_watched(
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(tcp).poll_write_vectored(cx, bufs)
    }
}
