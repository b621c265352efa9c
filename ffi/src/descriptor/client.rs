//! Our end of a pair of sockets.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pair {
    /// Over loopback: it can be reset, and has TCP's options.
    Tcp,
    Unix,
}

pub(super) struct Client {
    socket: Socket,
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
        Self { socket, gone: false }
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
        poll(&mut looked_at, Some(&at_once)).is_ok() && looked_at[0].revents().contains(PollFlags::HUP)
    }
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
    /// The end of the data is an error where the program has closed its end altogether: nobody waits for an answer.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        })?;
        if buf.filled().len() == before && self.hung_up() {
            self.gone = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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
