//! How names are resolved and connections opened: the system's way, or a test's.

use std::{fmt::Debug, io, net::SocketAddr, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

/// A connection in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The network between this process and istiod.
pub(crate) trait Transport: Debug + Send + Sync {
    /// The addresses of a name, at this moment.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, Vec<SocketAddr>>;

    /// A new connection.
    fn connect(&self, address: SocketAddr) -> Boxed<'_, Box<dyn Io>>;
}

/// The host's.
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
