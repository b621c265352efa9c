//! The connector as a service for the clients of hyper-util.

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
    uri::without_secrets,
};

/// The default port of `http://` URIs (RFC 9110 §4.2.1).
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

/// Returns the host and port of an `http://` URI.
pub(super) fn authority(uri: &Uri) -> Result<(&str, u16), Error> {
    let shown = || without_secrets(&uri.to_string());
    let host = uri.host().filter(|host| !host.is_empty());
    match (uri.scheme(), host) {
        (Some(scheme), Some(host)) if *scheme == Scheme::HTTP => {
            Ok((host, uri.port_u16().unwrap_or(HTTP_PORT)))
        }
        (Some(scheme), Some(_)) if *scheme == Scheme::HTTPS => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{}` is an https URI: use http://, because the mesh adds mTLS; for TLS inside mesh mTLS, run a TLS client \
                 over `Mesh::connect`",
                shown()
            ),
        )),
        _ => Err(Error::new(
            ErrorKind::InvalidTarget,
            format!(
                "invalid URI `{}`: expected http://HOST:PORT/, such as http://forecast.weather:3002/",
                shown()
            ),
        )),
    }
}

/// Makes hyper-util add the properties of the connection to responses: the extensions of a response contain the
/// [`ConnectionInfo`](crate::ConnectionInfo) of its connection.
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
    fn the_host_and_port_of_http_uris_are_used() {
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
            ("https://user:hunter2@forecast/?token=SECRET", ErrorKind::Unsupported, "`https://forecast/`"),
        ] {
            let error = authority(&uri.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(next), "{error}");
            assert!(
                !error.to_string().contains("hunter2") && !error.to_string().contains("SECRET"),
                "{error}"
            );
        }
    }
}
