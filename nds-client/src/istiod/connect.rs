//! One TLS connection to istiod, as a gRPC channel.
//!
//! Every stream opens a connection of its own, as Istio's agent does, so that reconnects can land on another istiod.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, RootCertStore, client::ResolvesClientCert, sign::CertifiedKey};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::{Config, Error, ErrorKind, Identity, ServerAddress, identity::Token};

/// How long one address may take to accept a connection and shake hands.
const ATTEMPT: Duration = Duration::from_secs(10);
/// istiod closes connections that ping more often than every 15 s (istio `pilot/pkg/grpc/grpc.go`).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const WINDOW: u32 = 1 << 20;

/// What to show istiod.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A client certificate. One that istiod does not like fails the handshake, without a second chance by token.
    Certificate(Arc<Identity>),
    /// The token, read anew.
    Token(Arc<Token>),
}

impl Credentials {
    /// The header for a call, where one is needed.
    pub(crate) fn authorize<T>(
        &self,
        request: &mut tonic::Request<T>,
        cluster_id: &str,
    ) -> Result<(), Error> {
        let metadata = request.metadata_mut();
        let invalid =
            |what: &str| Error::new(ErrorKind::Config, format!("{what} cannot be sent as a header"));
        // The key under which istiod looks for it (istio `kubeauth/kube_jwt.go`).
        metadata.insert("clusterid", cluster_id.parse().map_err(|_| invalid("the cluster id"))?);
        if let Self::Token(token) = self {
            let mut bearer: tonic::metadata::MetadataValue<_> =
                token.bearer().parse().map_err(|_| invalid("the token"))?;
            bearer.set_sensitive(true);
            metadata.insert("authorization", bearer);
        }
        Ok(())
    }
}

/// Opens connections to one server of istiod's.
pub(crate) struct Connector<'a> {
    pub(crate) config: &'a Config,
    pub(crate) server: &'a ServerAddress,
    pub(crate) roots: Arc<RootCertStore>,
}

impl Connector<'_> {
    /// A channel over a connection that is already open and authenticated.
    pub(crate) async fn connect(&self, credentials: &Credentials) -> Result<Channel, Error> {
        let addresses = self.addresses().await?;
        let tls = self.tls(credentials)?;
        let mut last = None;
        for address in addresses {
            let attempt = timeout(ATTEMPT, self.handshake(address, &tls));
            match attempt.await.unwrap_or_else(|_| Err(self.timed_out(address))) {
                Ok(stream) => {
                    return channel(stream).await.map_err(|error| self.unavailable(address, error));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, format!("{} has no address", self.server))))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let ServerAddress { host, port } = self.server;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, *port).into()]);
        }
        if let Some(known) = self.config.hosts.get(&host.to_ascii_lowercase()) {
            return Ok(known.iter().map(|ip| (*ip, *port).into()).collect());
        }
        let resolved = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(|error| {
            let message = format!(
                "istiod's name {host} cannot be resolved: put `<address> {host}` into the VM files' hosts, or give the address of the east-west gateway that exposes istiod"
            );
            Error::with_source(ErrorKind::Unavailable, message, error)
        })?;
        Ok(resolved.collect())
    }

    /// The name that istiod must prove (istio `pilot/pkg/grpc/tls.go`; its certificates have no IP addresses).
    fn server_name(&self) -> Result<ServerName<'static>, Error> {
        let host = &self.server.host;
        let unprovable = host.parse::<IpAddr>().is_ok() || host.contains("localhost");
        let derived = if unprovable { "istiod.istio-system.svc" } else { host };
        let name = self.config.istiod_name.as_deref().unwrap_or(derived);
        ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::with_source(ErrorKind::Config, format!("istiod's name {name:?} is not a DNS name"), error)
        })
    }

    fn tls(&self, credentials: &Credentials) -> Result<TlsConnector, Error> {
        let builder = ClientConfig::builder_with_provider(self.config.crypto_provider()?)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Error::with_source(ErrorKind::Config, "the crypto provider has no usable TLS version", error)
            })?
            .with_root_certificates(self.roots.clone());
        let mut tls = match credentials {
            Credentials::Certificate(identity) => {
                builder.with_client_cert_resolver(Arc::new(OneCertificate(identity.certified_key().clone())))
            }
            Credentials::Token(_) => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(tls)))
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        tls: &TlsConnector,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = self.server_name()?;
        let tcp = TcpStream::connect(address).await.map_err(|error| self.unavailable(address, error))?;
        tcp.set_nodelay(true).map_err(|error| self.unavailable(address, error))?;
        tls.connect(name.clone(), tcp).await.map_err(|error| self.handshake_error(address, &name, error))
    }

    fn handshake_error(&self, address: SocketAddr, name: &ServerName<'_>, error: io::Error) -> Error {
        let name = name.to_str();
        let roots =
            self.config.roots_file.as_deref().map_or("the given roots".into(), |file| file.to_string_lossy());
        let message = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(reason)) => match reason {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                    "what answers at {address} has no certificate under {roots}: fetch the mesh's root anew (ConfigMap istio-ca-root-cert), or check that the address is istiod's"
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!(
                        "the certificate at {address} is not for the name {name}: set the istiod name to one that it has, usually istiod.istio-system.svc"
                    )
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                    "istiod's certificate at {address} has expired by this host's clock: check the clock"
                ),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
                    "istiod's certificate at {address} is not valid yet by this host's clock: check the clock"
                ),
                _ => format!("the certificate at {address} cannot be verified under {roots}"),
            },
            _ => return self.unavailable(address, error),
        };
        Error::with_source(ErrorKind::UntrustedServer, message, error)
    }

    fn unavailable(&self, address: SocketAddr, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let message = format!(
            "istiod cannot be reached at {} ({address}): check that it runs and that the address and port are its TLS ones",
            self.server
        );
        Error::with_source(ErrorKind::Unavailable, message, error)
    }

    fn timed_out(&self, address: SocketAddr) -> Error {
        self.unavailable(address, io::Error::from(io::ErrorKind::TimedOut))
    }
}

async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_static("http://istiod")
        .origin(Uri::from_static("https://istiod"))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(Opened(Some(stream)))
        .await
}

/// Hands a connection that is open already to tonic, once.
struct Opened(Option<TlsStream<TcpStream>>);

impl Service<Uri> for Opened {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into());
        Box::pin(std::future::ready(stream))
    }
}

/// Presents one certificate, whatever the server hints at.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for OneCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
