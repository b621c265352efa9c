//! Our end of a pair of sockets.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::SendFlags,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Which sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pair {
    /// Over loopback: it can be reset, and has TCP's options.
    Tcp,
    Unix,
}

pub(super) struct Client {
    socket: Socket,
    /// The program writes no more.
    ended: bool,
    gone: bool,
}

enum Socket {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// The program's end, blocking and closed on exec, and ours.
pub(super) fn pair(pair: Pair) -> io::Result<(OwnedFd, Client)> {
    match pair {
        Pair::Unix => {
            let (theirs, ours) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            Ok((theirs.into(), Client::new(Socket::Unix(tokio::net::UnixStream::from_std(ours)?))))
        }
        Pair::Tcp => {
            let (theirs, ours) = over_loopback()?;
            theirs.set_nodelay(true)?;
            set_no_linger_after_end(&theirs)?;
            ours.set_nodelay(true)?;
            ours.set_nonblocking(true)?;
            Ok((theirs.into(), Client::new(Socket::Tcp(tokio::net::TcpStream::from_std(ours)?))))
        }
    }
}

fn over_loopback() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let their_address = theirs.local_addr()?;
    // Others can connect to loopback too.
    loop {
        let (ours, address) = listener.accept()?;
        if address == their_address {
            return Ok((theirs, ours));
        }
    }
}

impl Client {
    fn new(socket: Socket) -> Self {
        Self { socket, ended: false, gone: false }
    }

    /// The program has closed its end, and not only for writing.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The program's end is to see a reset, where it is a socket that knows one.
    pub(super) fn reset(&self) {
        if let Socket::Tcp(socket) = &self.socket {
            // Where it fails, the program has closed it already.
            let _ = socket.set_zero_linger();
        }
    }

    fn hung_up(&self) -> bool {
        let mut looked_at = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::empty())];
        let at_once = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::HUP | PollFlags::ERR;
        poll(&mut looked_at, Some(&at_once)).is_ok() && looked_at[0].revents().intersects(gone)
    }

    /// Waits until the program has closed its end altogether, which makes the socket ready for everything. That it is
    /// ready for writing is forgotten meanwhile, or it would be ready at once: [`poll_write_anyhow`](Self::poll_write_anyhow).
    fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let look = || if self.hung_up() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
            if self.socket.try_write_io(look).is_ok() || self.hung_up() {
                return Poll::Ready(());
            }
            // Where it fails, the mesh ends, and with it what asks.
            let _ = ready!(self.socket.poll_write_ready(cx));
        }
    }

    /// Writes whether the socket is known to be ready or not.
    fn poll_write_anyhow(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut written = rustix::net::send(self, buf, SendFlags::NOSIGNAL).map_err(io::Error::from);
        loop {
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            ready!(self.socket.poll_write_ready(cx))?;
            written = self.socket.try_write_io(|| Ok(rustix::net::send(self, buf, SendFlags::NOSIGNAL)?));
        }
    }
}

impl Socket {
    /// Writes, or does something else that is not possible before the socket is ready for it.
    fn try_write_io<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::WRITABLE, work),
            Self::Unix(socket) => socket.try_io(Interest::WRITABLE, work),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Unix(socket) => socket.poll_write_ready(cx),
        }
    }
}

/// A TCP socket that ends its direction and is closed later says nothing of that, and waits for the peer's end for a while;
/// with this it resets the connection then, when all that was written has arrived.
fn set_no_linger_after_end(socket: &TcpStream) -> io::Result<()> {
    let at_once: libc::c_int = -1;
    // SAFETY: the option is a number, which is read during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_LINGER2,
            (&raw const at_once).cast(),
            libc::socklen_t::try_from(size_of_val(&at_once)).unwrap_or_default(),
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Client {
    /// The end of the data is an error where the program has closed its end altogether: nobody waits for an answer. Asked
    /// again after the end, this waits for that.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            ready!(self.poll_hung_up(cx));
            self.gone = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        ready!(match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        })?;
        if buf.filled().len() == before && buf.remaining() > 0 {
            self.ended = true;
            if self.hung_up() {
                self.gone = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return self.poll_write_anyhow(cx, buf);
        }
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
