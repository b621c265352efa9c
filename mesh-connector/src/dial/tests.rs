//! Against workloads in this process.

mod failures;
mod identities;

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    Protocol, Transport,
    testing::{self, Authority, Server, auto_mtls, endpoints, locality},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const SNI: &str = "outbound_.3002_._.forecast.weather.svc.cluster.local";
const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";
const CLIENT: &str = "spiffe://cluster.local/ns/vms/sa/vm";

/// Upstream DNS that knows one name.
struct Upstream;

impl Lookup for Upstream {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        match host {
            "localhost.test" => Ok(vec![[127, 0, 0, 1].into()]),
            _ => Err(Error::new(ErrorKind::UnknownHost, format!("`{host}` is unknown"))),
        }
    }
}

/// What a test dials with; everything but the endpoints has a default.
struct Client {
    identity: Option<Identity>,
    cluster: Arc<Cluster>,
    tls: TlsConfigs,
    mtls: Mtls,
    protocol: Protocol,
    patience: Duration,
    failures: Arc<Failures>,
}

impl Client {
    fn new(identity: Identity, cluster: Cluster) -> Self {
        Self {
            identity: Some(identity),
            cluster: Arc::new(cluster),
            tls: TlsConfigs::new(),
            mtls: Mtls::AsConfigured,
            protocol: Protocol::Tcp,
            patience: Duration::from_secs(30),
            failures: Arc::default(),
        }
    }

    async fn dial(&self, endpoints: &Endpoints) -> Result<MeshStream, Error> {
        let target = Target::new("forecast.weather", 3002).unwrap().with_protocol(self.protocol);
        let dialer = Dialer {
            target: &target,
            cluster: &self.cluster,
            identity: self.identity.as_ref(),
            tls: &self.tls,
            mtls: self.mtls,
            lookup: &Upstream,
            failures: &self.failures,
            deadline: Instant::now() + self.patience,
        };
        dialer.connect(endpoints, &mut Rng::with_seed(1)).await
    }

    async fn dial_one(&self, address: SocketAddr) -> Result<MeshStream, Error> {
        self.dial(&only(testing::endpoint(address))).await
    }
}

fn only(endpoint: Endpoint) -> Endpoints {
    endpoints(vec![locality(0, 1, vec![endpoint])])
}

/// Endpoints that are tried in this order.
fn in_order(all: impl IntoIterator<Item = Endpoint>) -> Endpoints {
    let localities =
        all.into_iter().zip(0..).map(|(endpoint, priority)| locality(priority, 1, vec![endpoint]));
    endpoints(localities.collect())
}

async fn echoed(stream: &mut MeshStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
