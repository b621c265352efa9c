//! The baselines of the library's streams: a minimal TLS client with blocking reads and writes, and one that copies
//! into a socket pair.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes},
    runtime::{Builder, Runtime},
};
use tokio_rustls::client::TlsStream;

use crate::{Failure, bare::Bare, peers};

/// The buffer size of a copy: one TLS record.
const BUFFER: usize = 16 * 1024;

/// A blocking stream.
pub(super) trait Plain: Read + Write {}
impl<P: Read + Write> Plain for P {}

/// The form of a connection in the program.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Unix,
    Tcp,
    Stream,
}

/// A minimal client with the same threads as the library.
pub(super) struct Client<'a> {
    bare: &'a Bare,
    how: How,
    runtime: &'a Runtime,
}

/// Returns a runtime with a thread that copies, or without one if calls do the work.
pub(super) fn runtime(how: How) -> Result<Runtime, Failure> {
    match how {
        How::Stream => peers::one_thread(),
        How::Unix | How::Tcp => Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?),
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(bare: &'a Bare, how: How, runtime: &'a Runtime) -> Self {
        Self { bare, how, runtime }
    }

    pub(super) fn connect(&self) -> Result<Box<dyn Plain + 'a>, Failure> {
        let runtime = self.runtime;
        let stream = runtime.block_on(self.bare.connect())?;
        let _inside = runtime.enter();
        match self.how {
            How::Stream => Ok(Box::new(Blocking { runtime, stream })),
            How::Unix => {
                let (theirs, ours) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                self.copy(tokio::net::UnixStream::from_std(ours)?, stream);
                Ok(Box::new(theirs))
            }
            How::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let theirs = TcpStream::connect(listener.local_addr()?)?;
                let (ours, _) = listener.accept()?;
                theirs.set_nodelay(true)?;
                ours.set_nodelay(true)?;
                ours.set_nonblocking(true)?;
                self.copy(tokio::net::TcpStream::from_std(ours)?, stream);
                Ok(Box::new(theirs))
            }
        }
    }

    fn copy<S>(&self, mut ours: S, mut stream: TlsStream<tokio::net::TcpStream>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.runtime.spawn(async move {
            copy_bidirectional_with_sizes(&mut ours, &mut stream, BUFFER, BUFFER).await.ok();
        });
    }
}

struct Blocking<'a> {
    runtime: &'a Runtime,
    stream: TlsStream<tokio::net::TcpStream>,
}

impl Read for Blocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.read(buffer))
    }
}

impl Write for Blocking<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(async {
            self.stream.write_all(data).await?;
            self.stream.flush().await?;
            Ok(data.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
