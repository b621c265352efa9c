//! The test istiod: its connectivity and its contents.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{io::DuplexStream, sync::watch, task::AbortHandle};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use xds_proto::{
    envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
    google::protobuf::Any,
    istio::v1::auth::{
        IstioCertificateRequest, istio_certificate_service_server::IstioCertificateServiceServer,
    },
};

use super::{ads::DiscoveryType, ca::Ca, pki::Authority};
use crate::{
    client::{NdsClient, NdsClientBuilder},
    clock::Clock,
    config::Config,
    error::Error,
    transport::{Io, Transport},
};

/// A test istiod. Clones share one state.
#[derive(Clone)]
pub(crate) struct Istiod(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) settings: Mutex<Settings>,
    server_key: Arc<CertifiedKey>,
    connections: Mutex<Vec<AbortHandle>>,
    /// The resources by type and name. Each change is pushed.
    pub(super) resources: watch::Sender<BTreeMap<(String, String), Any>>,
    pub(super) streams: watch::Sender<u64>,
    pub(super) issued: AtomicU64,
    /// The last certificate request.
    pub(super) asked: Mutex<Option<IstioCertificateRequest>>,
    pub(super) requests: watch::Sender<Vec<xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest>>,
    /// Each change makes the open connections unresponsive.
    freezes: watch::Sender<u64>,
    /// Each change ends all streams normally.
    pub(super) ends: watch::Sender<u64>,
}

/// The behaviour of new connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connectivity {
    /// Connections are rejected.
    Closed,
    /// Connections are accepted without a response.
    Unresponsive,
    /// xDS streams are accepted without a response.
    NoResponses,
    Open,
}

pub(super) struct Settings {
    pub(super) connectivity: Connectivity,
    pub(super) signer: Arc<Authority>,
    /// The root bundle that is issued with each certificate.
    pub(super) bundle: String,
    pub(super) accepts_tokens: bool,
    pub(super) accepts_certificates: bool,
    pub(super) signs: bool,
    pub(super) max_ttl: Duration,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) resolved: u64,
}

impl Istiod {
    pub(crate) fn new(clock: Clock) -> Self {
        let signer = Arc::new(Authority::new("first", clock.clone()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let server_key = Arc::new(signer.server("istiod.istio-system.svc", &provider));
        let settings = Settings {
            connectivity: Connectivity::Open,
            bundle: signer.root_pem().to_owned(),
            signer,
            accepts_tokens: true,
            accepts_certificates: true,
            signs: true,
            max_ttl: Duration::from_secs(90 * 24 * 3600),
            addresses: vec![([10, 0, 0, 99], 15012).into()],
            resolved: 0,
        };
        let istiod = Self(Arc::new(Inner {
            clock,
            settings: Mutex::new(settings),
            server_key,
            connections: Mutex::default(),
            resources: watch::channel(BTreeMap::new()).0,
            streams: watch::channel(0).0,
            issued: AtomicU64::new(0),
            asked: Mutex::default(),
            requests: watch::channel(Vec::new()).0,
            freezes: watch::channel(0).0,
            ends: watch::channel(0).0,
        }));
        istiod.set_names(&[("forecast.weather.svc.cluster.local", "10.1.2.3")]);
        istiod
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// Returns the builder of a client that joins this istiod.
    pub(crate) fn client(&self, config: Config) -> NdsClientBuilder {
        let transport = Arc::new(Memory(self.0.clone()));
        NdsClient::builder(config).with_clock(self.clock()).with_transport(transport)
    }

    pub(crate) fn spawn(&self, config: Config) -> NdsClient {
        self.client(config).spawn().unwrap()
    }

    pub(crate) async fn join(&self, config: Config) -> Result<NdsClient, Error> {
        self.client(config).join().await
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        self.0.settings.lock().signer.clone()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.0.settings.lock());
    }

    pub(crate) fn set_connectivity(&self, connectivity: Connectivity) {
        self.set(|settings| settings.connectivity = connectivity);
    }

    pub(crate) fn accept_tokens(&self, accept: bool) {
        self.set(|settings| settings.accepts_tokens = accept);
    }

    pub(crate) fn accept_certificates(&self, accept: bool) {
        self.set(|settings| settings.accepts_certificates = accept);
    }

    /// Sets whether the CA signs.
    pub(crate) fn sign(&self, sign: bool) {
        self.set(|settings| settings.signs = sign);
    }

    /// Sets the root bundle that is issued with certificates.
    pub(crate) fn set_bundle(&self, bundle: impl Into<String>) {
        self.set(|settings| settings.bundle = bundle.into());
    }

    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.set(|settings| settings.addresses = addresses);
    }

    /// Returns the number of name resolutions.
    pub(crate) fn resolved(&self) -> u64 {
        self.0.settings.lock().resolved
    }

    /// Returns the number of signed certificates.
    pub(crate) fn issued(&self) -> u64 {
        self.0.issued.load(Ordering::Relaxed)
    }

    /// Returns the last certificate request.
    pub(crate) fn last_request(&self) -> Option<IstioCertificateRequest> {
        self.0.asked.lock().clone()
    }

    /// Returns the number of opened xDS streams.
    pub(crate) fn streams(&self) -> u64 {
        *self.0.streams.borrow()
    }

    /// Waits until this number of xDS streams was opened.
    pub(crate) async fn opened(&self, streams: u64) {
        self.0.streams.subscribe().wait_for(|opened| *opened >= streams).await.unwrap();
    }

    /// Stops without closing the connections.
    pub(crate) fn crash(&self) {
        self.set_connectivity(Connectivity::Closed);
        self.0.connections.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// Makes every open connection unresponsive, like a cable that is pulled.
    pub(crate) fn freeze(&self) {
        self.0.freezes.send_modify(|times| *times += 1);
    }

    /// Ends every stream, as istiod does every half hour.
    pub(crate) fn end_streams(&self) {
        self.0.ends.send_modify(|times| *times += 1);
    }

    fn accept(&self, stream: DuplexStream) {
        let (istiod, mut freezes) = (self.clone(), self.0.freezes.subscribe());
        let task = tokio::spawn(async move {
            let mut served = pin!(serve(istiod, stream));
            tokio::select! {
                () = &mut served => {}
                _ = freezes.changed() => std::future::pending().await,
            }
        });
        let mut connections = self.0.connections.lock();
        connections.retain(|connection| !connection.is_finished());
        connections.push(task.abort_handle());
    }
}

#[derive(Clone)]
struct Memory(Arc<Inner>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

impl Transport for Memory {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        let mut settings = self.0.settings.lock();
        settings.resolved += 1;
        Box::pin(std::future::ready(Ok(settings.addresses.clone())))
    }

    /// Addresses that end in 0 do not respond.
    fn connect(
        &self,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + '_>> {
        Box::pin(async move {
            if address.ip().to_string().ends_with(".0") {
                std::future::pending::<()>().await;
            }
            let connectivity = self.0.settings.lock().connectivity;
            if connectivity == Connectivity::Closed {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            if connectivity == Connectivity::Unresponsive {
                tokio::spawn(async move {
                    let _open = theirs;
                    std::future::pending::<()>().await;
                });
            } else {
                Istiod(self.0.clone()).accept(theirs);
            }
            let stream: Box<dyn Io> = Box::new(ours);
            Ok(stream)
        })
    }
}

/// Returns whether the client presented a valid certificate.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) certified: bool,
}

async fn serve(istiod: Istiod, stream: DuplexStream) {
    let Ok(stream) = TlsAcceptor::from(tls(&istiod)).accept(stream).await else { return };
    let caller = Caller { certified: stream.get_ref().1.peer_certificates().is_some() };
    let discovery = AggregatedDiscoveryServiceServer::new(DiscoveryType(istiod.clone()));
    let ca = IstioCertificateServiceServer::new(Ca(istiod.clone()));
    let routes = Routes::new(discovery).add_service(ca).prepare();
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        let mut routes = routes.clone();
        async move { tower_service::Service::call(&mut routes, request).await }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn tls(istiod: &Istiod) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = istiod.0.settings.lock();
    let mut roots = settings.signer.root_store();
    if !settings.accepts_certificates {
        roots = Authority::new("nobody's", istiod.clock()).root_store();
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(istiod.clock()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(istiod.0.server_key.clone())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
