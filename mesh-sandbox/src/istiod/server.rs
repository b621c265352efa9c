//! The TLS port of istiod: HTTP/2 with the certificate of istiod. A client certificate is optional, but an invalid one
//! fails the handshake (istio `pilot/pkg/bootstrap/server.go`).

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use xds_proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateServiceServer;

use super::ads::DiscoveryService;
use super::authenticate::Peer;
use super::ca::CertificateService;
use super::{AgeLimit, Process, Shared};
use crate::error::{Error, Result};
use crate::listen;
use crate::pki::server_certificate::OneCertificate;
use crate::pki::verifier::{Demand, MeshClientVerifier};
use crate::pki::{self, Lifetime, Subject, spiffe};
use crate::tasks::{Executor, TaskGroup};

/// The timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// The interval and timeout of the server's HTTP/2 keepalive (istio `pkg/keepalive/options.go`).
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// The maximum size of a request: the default of grpc-go.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;
/// The lifetime of the certificate of istiod.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A server that is ready to accept connections.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    process: Arc<Process>,
    tls: Arc<ServerConfig>,
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>, process: Arc<Process>) -> Result<Self> {
        let authority = &shared.authority;
        let key = authority.certified_key(&Subject::Names(shared.names.clone()), Lifetime::For(LIFETIME))?;
        let verifier =
            MeshClientVerifier::new(authority.roots()?, &authority.trust_domains()[..1], Demand::Optional)?;
        let mut config = ServerConfig::builder_with_provider(pki::provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| Error::certificate("istiod's TLS settings", error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(OneCertificate(Arc::new(key))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { shared, process, tls: Arc::new(config) })
    }

    /// Serves connections until the future is dropped. Then all tasks that the future started end.
    pub(crate) async fn serve(self, listener: TcpListener, connections: TaskGroup) {
        let streams = Arc::new(TaskGroup::new(&tokio::runtime::Handle::current()));
        let discovery = DiscoveryService {
            shared: self.shared.clone(),
            process: self.process.clone(),
            streams: streams.clone(),
        };
        let discovery =
            AggregatedDiscoveryServiceServer::new(discovery).max_decoding_message_size(LARGEST_REQUEST);
        let certificates = IstioCertificateServiceServer::new(CertificateService(self.shared.clone()));
        let routes = Routes::new(discovery).add_service(certificates).prepare();
        let age = self.shared.age;
        let connection = |stream, peer| {
            let (tls, routes) = (TlsAcceptor::from(self.tls.clone()), routes.clone());
            async move {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                    let identity = identity(&stream);
                    connection(stream, Peer { address: peer, identity }, routes, age).await;
                }
            }
        };
        listen::serve(listener, &connections, connection).await;
    }
}

/// Serves one HTTP/2 connection. Dropping the future closes the socket and ends the calls on the connection.
async fn connection(stream: TlsStream<TcpStream>, peer: Peer, routes: Routes, age: Option<AgeLimit>) {
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return; // grpc-go requires that ALPN selects h2
    }
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let mut routes = routes.clone();
        async move { tower_service::Service::call(&mut routes, request).await }
    });
    let connection = hyper::server::conn::http2::Builder::new(Executor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let Some(AgeLimit { age, grace }) = age else {
        let _ = connection.await;
        return;
    };
    // The forced reconnect: a GOAWAY at the maximum age, and the end of the connection after the grace period (istio
    // `pkg/keepalive/options.go`).
    if timeout(age, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(grace, connection).await;
    }
}

fn identity(stream: &TlsStream<TcpStream>) -> Option<String> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    spiffe::uris(certificate).into_iter().next()
}
