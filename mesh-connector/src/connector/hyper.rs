//! The connector as hyper-util's clients take it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tower_service::Service;

use super::MeshConnector;
use crate::{
    error::{Error, ErrorKind},
    stream::MeshStream,
};

/// The port of `http://` URIs without one (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

impl Service<Uri> for MeshConnector {
    type Response = TokioIo<MeshStream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let (host, port) = authority(&uri)?;
            connector.connect(host, port).await.map(TokioIo::new)
        })
    }
}

/// Where a URI leads, if the mesh can lead there.
pub(super) fn authority(uri: &Uri) -> Result<(&str, u16), Error> {
    let host = uri.host().filter(|host| !host.is_empty());
    match (uri.scheme(), host) {
        (Some(scheme), Some(host)) if *scheme == Scheme::HTTP => {
            Ok((host, uri.port_u16().unwrap_or(HTTP_PORT)))
        }
        (Some(scheme), Some(_)) if *scheme == Scheme::HTTPS => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{uri}` asks for a TLS of its own: write http://, the mesh adds mTLS itself; for TLS inside of \
                 it, run a TLS client over `Mesh::connect`"
            ),
        )),
        _ => Err(Error::new(
            ErrorKind::InvalidTarget,
            format!("`{uri}` is no target: write http://HOST:PORT/, such as http://forecast.weather:3002/"),
        )),
    }
}

/// Responses carry the [`ConnectionInfo`](crate::ConnectionInfo) of their connection in their extensions.
impl Connection for MeshStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.connection().clone());
        match self.connection().alpn() {
            Some("h2") => connected.negotiated_h2(),
            _ => connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_uris_lead_to_their_host_and_port() {
        for (uri, host, port) in [
            ("http://forecast.weather:3002/x", "forecast.weather", 3002),
            ("http://forecast.weather/", "forecast.weather", 80),
            ("http://[::1]:81/", "[::1]", 81),
        ] {
            assert_eq!(authority(&uri.parse().unwrap()).unwrap(), (host, port));
        }
    }

    #[test]
    fn other_uris_are_refused_with_the_next_step() {
        for (uri, kind, next) in [
            ("https://forecast.weather:3002/", ErrorKind::Unsupported, "http://"),
            ("/path", ErrorKind::InvalidTarget, "http://HOST:PORT/"),
            ("ftp://forecast/", ErrorKind::InvalidTarget, "http://HOST:PORT/"),
        ] {
            let error = authority(&uri.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(next), "{error}");
        }
    }
}
