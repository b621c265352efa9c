//! Pairs of connected sockets: the program's end, blocking and closed on exec, and the mesh's.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

/// Which sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pair {
    /// Over loopback: it can be reset, and has TCP's options.
    Tcp,
    Unix,
}

/// The program's end and the mesh's.
pub(crate) enum Ends {
    Tcp(OwnedFd, tokio::net::TcpStream),
    Unix(OwnedFd, tokio::net::UnixStream),
}

impl Pair {
    /// In a runtime.
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
    // Others can connect to loopback too.
    loop {
        let (ours, address) = listener.accept()?;
        if address == their_address {
            return Ok((theirs, ours));
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
