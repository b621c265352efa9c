//! The process: who may connect, and what is served.

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

use super::{ads::Discovery, ca::Ca, pki::Authority};
use crate::{
    client::{ClientBuilder, NdsClient},
    clock::Clock,
    config::Config,
    error::Error,
    transport::{Io, Transport},
};

/// An istiod. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Istiod(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) settings: Mutex<Settings>,
    server_key: Arc<CertifiedKey>,
    connections: Mutex<Vec<AbortHandle>>,
    /// What the xDS server says, by type and name; each change is pushed.
    pub(super) resources: watch::Sender<BTreeMap<(String, String), Any>>,
    pub(super) streams: watch::Sender<u64>,
    pub(super) issued: AtomicU64,
    /// The last request for a certificate.
    pub(super) asked: Mutex<Option<IstioCertificateRequest>>,
    pub(super) requests: watch::Sender<Vec<xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest>>,
    /// Each time it changes, the connections that are open go dead.
    freezes: watch::Sender<u64>,
    /// Ends all streams, politely, each time it changes.
    pub(super) ends: watch::Sender<u64>,
}

/// What happens to whoever connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Door {
    /// Connections are refused.
    Closed,
    /// Connections are accepted, and that is all.
    Silent,
    /// xDS streams are accepted, and never answered.
    Mute,
    Open,
}

pub(super) struct Settings {
    pub(super) door: Door,
    pub(super) signer: Arc<Authority>,
    /// The root bundle that comes with each certificate.
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
            door: Door::Open,
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

    /// A client that is about to join this istiod's mesh.
    pub(crate) fn client(&self, config: Config) -> ClientBuilder {
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

    pub(crate) fn set_door(&self, door: Door) {
        self.set(|settings| settings.door = door);
    }

    pub(crate) fn accept_tokens(&self, accept: bool) {
        self.set(|settings| settings.accepts_tokens = accept);
    }

    pub(crate) fn accept_certificates(&self, accept: bool) {
        self.set(|settings| settings.accepts_certificates = accept);
    }

    /// Whether the CA signs at all.
    pub(crate) fn sign(&self, sign: bool) {
        self.set(|settings| settings.signs = sign);
    }

    /// The root bundle that comes with certificates from now on.
    pub(crate) fn set_bundle(&self, bundle: impl Into<String>) {
        self.set(|settings| settings.bundle = bundle.into());
    }

    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.set(|settings| settings.addresses = addresses);
    }

    /// How often the name was resolved.
    pub(crate) fn resolved(&self) -> u64 {
        self.0.settings.lock().resolved
    }

    /// How many certificates were signed.
    pub(crate) fn issued(&self) -> u64 {
        self.0.issued.load(Ordering::Relaxed)
    }

    /// The last request for a certificate.
    pub(crate) fn asked(&self) -> Option<IstioCertificateRequest> {
        self.0.asked.lock().clone()
    }

    /// How many xDS streams were opened.
    pub(crate) fn streams(&self) -> u64 {
        *self.0.streams.borrow()
    }

    /// Waits until so many xDS streams were opened.
    pub(crate) async fn opened(&self, streams: u64) {
        self.0.streams.subscribe().wait_for(|opened| *opened >= streams).await.unwrap();
    }

    /// Ends, and leaves every connection without a word.
    pub(crate) fn crash(&self) {
        self.set_door(Door::Closed);
        self.0.connections.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// Every connection stays open, and nothing goes over it any more: a cable is pulled.
    pub(crate) fn freeze(&self) {
        self.0.freezes.send_modify(|times| *times += 1);
    }

    /// Ends every stream, as istiod does each half hour.
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

    /// Addresses that end in 0 accept nothing and refuse nothing.
    fn connect(
        &self,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + '_>> {
        Box::pin(async move {
            if address.ip().to_string().ends_with(".0") {
                std::future::pending::<()>().await;
            }
            let door = self.0.settings.lock().door;
            if door == Door::Closed {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            if door == Door::Silent {
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

/// Whether the caller showed a certificate that is accepted.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) certified: bool,
}

async fn serve(istiod: Istiod, stream: DuplexStream) {
    let Ok(stream) = TlsAcceptor::from(tls(&istiod)).accept(stream).await else { return };
    let caller = Caller { certified: stream.get_ref().1.peer_certificates().is_some() };
    let discovery = AggregatedDiscoveryServiceServer::new(Discovery(istiod.clone()));
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
