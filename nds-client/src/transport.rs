//! Name resolution and TCP connections, which tests can replace.

use std::{fmt::Debug, io, net::SocketAddr, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

/// A byte stream in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The network between this process and istiod.
pub(crate) trait Transport: Debug + Send + Sync {
    /// Resolves a host name to addresses with this port.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, Vec<SocketAddr>>;

    /// Opens a TCP connection.
    fn connect(&self, address: SocketAddr) -> Boxed<'_, Box<dyn Io>>;
}

/// The network of the host.
#[derive(Debug)]
pub(crate) struct System;

impl Transport for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Boxed<'_, Box<dyn Io>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Io> = Box::new(stream);
            Ok(stream)
        })
    }
}
