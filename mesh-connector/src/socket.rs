//! The TCP socket of a stream. Writing never raises SIGPIPE, regardless of the signal settings of the process, because
//! the signal would end programs that do not handle it.

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
    /// The socket is registered with a tokio reactor.
    Registered(TcpStream),
    /// The socket is not registered: see [`DetachedStream`](crate::DetachedStream).
    Detached(std::net::TcpStream),
    /// A conversion between the other variants is in progress, or has failed.
    Empty,
}

impl Socket {
    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        if let Self::Registered(tcp) = std::mem::replace(self, Self::Empty) {
            *self = Self::Detached(tcp.into_std()?);
        }
        Ok(())
    }

    /// Registers the socket with the current tokio reactor.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        if let Self::Detached(tcp) = std::mem::replace(self, Self::Empty) {
            *self = Self::Registered(TcpStream::from_std(tcp)?);
        }
        Ok(())
    }
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Registered(tcp)
    }
}

/// Performs non-blocking I/O. Returns `Pending` for `WouldBlock`, without registering a waker.
fn nonblocking<T>(mut work: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
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
            Self::Registered(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Detached(tcp) => {
                nonblocking(|| tcp.read(buf.initialize_unfilled())).map_ok(|bytes| buf.advance(bytes))
            }
            Self::Empty => gone(),
        }
    }
}

impl AsyncWrite for Socket {
    /// Uses `send` with MSG_NOSIGNAL for registered and detached sockets.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Registered(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Detached(tcp) => nonblocking(|| tcp.write(buf)),
            Self::Empty => gone(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (&mut *self, bufs) {
            (_, [only]) => self.poll_write(cx, only),
            (Self::Registered(tcp), _) => vectored::poll_watched(tcp, cx, bufs),
            (Self::Detached(tcp), _) => nonblocking(|| vectored::send(tcp.as_fd(), bufs)),
            (Self::Empty, _) => gone(),
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
            Self::Registered(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Detached(tcp) => Poll::Ready(tcp.shutdown(std::net::Shutdown::Write)),
            Self::Empty => gone(),
        }
    }
}

/// Vectored writes. `writev`, which `std` and tokio use, would raise SIGPIPE.
#[cfg(target_os = "linux")]
mod vectored {
    use std::{
        io::{self, IoSlice},
        os::fd::BorrowedFd,
        task::{Context, Poll, ready},
    };

    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    use tokio::{io::Interest, net::TcpStream};

    /// The limit of the system: UIO_MAXIOV is 1024. rustls passes fewer slices per call.
    const MAX_SLICES: usize = 1024;

    pub(super) fn send(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MAX_SLICES)];
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

/// Vectored writes. On systems other than Linux, `std` sets SO_NOSIGPIPE on every socket if the system has this option.
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
