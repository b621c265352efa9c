//! Pairs of connected sockets. The program's end blocks and is closed on exec; the library's end belongs to the tokio
//! runtime.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

/// The type of the two sockets of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pair {
    /// TCP over loopback. A TCP socket reports a reset of the connection, and has TCP options.
    Tcp,
    Unix,
}

/// The program's end and the library's end of a pair of connected sockets.
pub(crate) enum Ends {
    Tcp(OwnedFd, tokio::net::TcpStream),
    Unix(OwnedFd, tokio::net::UnixStream),
}

impl Pair {
    /// Creates a pair of connected sockets. Must be called in a tokio runtime.
    pub(crate) fn open(self) -> io::Result<Ends> {
        match self {
            Self::Tcp => {
                let (theirs, ours) = over_loopback()?;
                theirs.set_nodelay(true)?;
                set_no_linger_after_end(&theirs)?;
                ours.set_nodelay(true)?;
                ours.set_nonblocking(true)?;
                Ok(Ends::Tcp(theirs.into(), tokio::net::TcpStream::from_std(ours)?))
            }
            Self::Unix => {
                let (theirs, ours) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                Ok(Ends::Unix(theirs.into(), tokio::net::UnixStream::from_std(ours)?))
            }
        }
    }
}

fn over_loopback() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let their_address = theirs.local_addr()?;
    // Another process may have connected to the port first.
    loop {
        let (ours, address) = listener.accept()?;
        if address == their_address {
            return Ok((theirs, ours));
        }
    }
}

/// Makes `close` reset a connection whose write direction was shut down before.
///
/// By default, such a connection stays in FIN-WAIT-2 after `close`, and the library does not see that the program has
/// closed the socket. The data that the program wrote arrives before the reset.
fn set_no_linger_after_end(socket: &TcpStream) -> io::Result<()> {
    let no_wait: libc::c_int = -1;
    // SAFETY: the option is an integer, which the call reads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_LINGER2,
            (&raw const no_wait).cast(),
            libc::socklen_t::try_from(size_of_val(&no_wait)).unwrap_or_default(),
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
