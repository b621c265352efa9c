//! East-west gateways in mode AUTO_PASSTHROUGH (istio `pilot/pkg/networking/core/gateway.go`). A gateway never
//! terminates TLS. It forwards a connection whose SNI matches exactly and whose ALPN contains a protocol of Istio, and
//! resets every other connection without an alert.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::address_book::{AddressBook, YamlAddress};
use crate::events::{Event, Events, GatewayEvent, GatewayOutcome};
use crate::hello::{self, Hello, Opening};
use crate::listen;
use crate::model::{Health, Mesh, NetworkGateway, Protocol, Viewer, selects};
use crate::tasks::TaskGroup;
use crate::xds::name;
use crate::xds::policy::Target;
use crate::yaml::kubernetes::Labels;

/// The maximum time until a client has sent its ClientHello (istio `pilot/pkg/networking/core/listener.go`).
const INSPECTION: Duration = Duration::from_secs(15);

/// The routes of a gateway: each SNI with the endpoints behind it.
#[derive(Debug, Default)]
pub(crate) struct Routes(BTreeMap<String, Route>);

/// The endpoints of one service port in the network of the gateway.
#[derive(Debug)]
struct Route {
    endpoints: Vec<YamlAddress>,
    next: AtomicUsize,
}

impl Route {
    /// Creates the route to a service port. The route contains only endpoints that accept mTLS, because the gateway
    /// does not terminate TLS (istio `endpoint_builder.go`).
    fn of(gateway: &NetworkGateway, target: &Target<'_>) -> Self {
        let endpoints = target.service.endpoints_of(target.port).filter(|endpoint| {
            endpoint.network == gateway.network
                && target.is_mtls(endpoint)
                && target.subset.is_none_or(|subset| selects(&subset.labels, &endpoint.labels))
                && matches!(endpoint.health, Health::Healthy | Health::Unknown)
        });
        let repeated = endpoints.flat_map(|endpoint| {
            let address = YamlAddress::new(&endpoint.network, &endpoint.address, endpoint.port);
            std::iter::repeat_n(address, usize::try_from(endpoint.weight.min(100)).unwrap_or(1))
        });
        Self { endpoints: repeated.collect(), next: AtomicUsize::new(0) }
    }
}

impl Routes {
    /// Creates one route per exposed service, port and subset, as istiod creates filter chains (istio
    /// `pilot/pkg/networking/core/gateway.go`).
    pub(crate) fn of(gateway: &NetworkGateway, mesh: &Mesh) -> Self {
        let servers: Vec<_> = mesh.servers.iter().filter(|server| server.is_on(gateway)).collect();
        let mut routes = BTreeMap::new();
        let none = Labels::new();
        let labels = gateway.labels.as_ref().unwrap_or(&none);
        let scope = mesh.scope(Viewer::Gateway, &gateway.namespace, labels);
        for service in &scope.services {
            if !servers.iter().any(|server| server.exposes(service)) {
                continue;
            }
            let rule = scope.rule(&service.host, labels);
            for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
                let subsets = rule.iter().flat_map(|rule| &rule.subsets).map(Some);
                for subset in subsets.chain([None]) {
                    let target = Target { service, port, rule, subset };
                    let name = name::sni(port.number, target.subset_name(), &service.host);
                    routes.entry(name).or_insert_with(|| Route::of(gateway, &target));
                }
            }
        }
        Self(routes)
    }
}

/// A listener of an east-west gateway, and the state for forwarding its connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) network: String,
    /// The delay before the gateway forwards a connection.
    pub(crate) delay: watch::Receiver<Duration>,
    pub(crate) routes: RwLock<Arc<Routes>>,
    pub(crate) book: AddressBook,
    pub(crate) events: Events,
}

/// Accepts and forwards connections, until the future is dropped.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener, connections: Arc<TaskGroup>) {
    let connection = |stream, _| {
        let gateway = gateway.clone();
        async move { gateway.connection(stream).await }
    };
    listen::serve(listener, &connections, connection).await;
}

impl Gateway {
    async fn connection(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let opening = timeout(INSPECTION, hello::read(&mut stream, &mut bytes)).await;
        let hello = match opening {
            Ok(Ok(Opening::Tls(hello))) => hello,
            Ok(Ok(Opening::Closed)) => return,
            _ => return self.reset(stream, Hello::default(), GatewayOutcome::NoClientHello),
        };
        self.wait().await;
        let upstream = match self.choose(&hello) {
            Ok(endpoint) => self.connect(endpoint).await,
            Err(outcome) => return self.reset(stream, hello, outcome),
        };
        let Some((endpoint, mut upstream)) = upstream else {
            return self.reset(stream, hello, GatewayOutcome::NoUpstream);
        };
        let endpoint = format!("{}:{}", endpoint.address, endpoint.port);
        self.record(hello, GatewayOutcome::Forwarded { endpoint });
        if upstream.write_all(&bytes).await.is_ok() {
            // When one side closes or fails, both sides are closed.
            let _ = copy_bidirectional(&mut stream, &mut upstream).await;
        }
    }

    /// Waits for the delay of the gateway, counted from the call. A change of the delay also applies to a wait in
    /// progress.
    async fn wait(&self) {
        let (start, mut delay) = (Instant::now(), self.delay.clone());
        loop {
            let end = start + *delay.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                changed = delay.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Returns the endpoints to try, in order. Each call starts with the next endpoint of the route.
    fn choose(&self, hello: &Hello) -> Result<Vec<YamlAddress>, GatewayOutcome> {
        let routes = self.routes.read().clone();
        let route = hello.sni.as_ref().and_then(|sni| routes.0.get(sni)).ok_or(GatewayOutcome::UnknownSni)?;
        if !hello.is_istio() {
            return Err(GatewayOutcome::NoIstioAlpn);
        }
        if route.endpoints.is_empty() {
            return Err(GatewayOutcome::NoUpstream);
        }
        let mut endpoints = route.endpoints.clone();
        let first = route.next.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        endpoints.rotate_left(first);
        Ok(endpoints)
    }

    /// Connects to the first endpoint that accepts a connection. Like Envoy's TCP proxy, the gateway makes at most
    /// three connection attempts.
    async fn connect(&self, endpoints: Vec<YamlAddress>) -> Option<(YamlAddress, TcpStream)> {
        for endpoint in endpoints.into_iter().take(3) {
            let socket: Option<SocketAddr> =
                self.book.socket(&endpoint.network, &endpoint.address, endpoint.port);
            if let Some(socket) = socket
                && let Ok(stream) = TcpStream::connect(socket).await
            {
                // With Nagle's algorithm, small messages would wait for acknowledgements on both connections, to the
                // client and to the endpoint.
                let _ = stream.set_nodelay(true);
                return Some((endpoint, stream));
            }
        }
        None
    }

    /// Resets the connection: without a matching filter chain, Envoy closes the socket without a TLS alert.
    fn reset(&self, stream: TcpStream, hello: Hello, outcome: GatewayOutcome) {
        let _ = stream.set_zero_linger();
        self.record(hello, outcome);
    }

    fn record(&self, hello: Hello, outcome: GatewayOutcome) {
        let network = self.network.clone();
        self.events.record(Event::Gateway(GatewayEvent {
            network,
            sni: hello.sni,
            alpn: hello.alpn,
            outcome,
        }));
    }
}
