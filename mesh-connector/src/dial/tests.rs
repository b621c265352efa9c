//! Against workloads in this process.

mod failures;
mod identities;
mod originated;
mod policies;

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use nds_client::{Endpoint, Endpoints};

use super::*;
use crate::{
    Host, Protocol, Transport,
    hosts::HostSets,
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
    hosts: HostSets,
}

impl Client {
    fn new(identity: Identity, cluster: Cluster) -> Self {
        Self {
            identity: Some(identity),
            cluster: Arc::new(cluster),
            tls: TlsConfigs::new(None),
            mtls: Mtls::AsConfigured,
            protocol: Protocol::Tcp,
            patience: Duration::from_secs(30),
            hosts: HostSets::new(),
        }
    }

    async fn dial(&self, endpoints: &Endpoints) -> Result<MeshStream, Error> {
        self.dial_as(Host::Name("forecast.weather".into()), endpoints).await
    }

    /// With another identity.
    async fn dial_with(&self, identity: &Identity, address: SocketAddr) -> Result<MeshStream, Error> {
        let host = Host::Name("forecast.weather".into());
        self.dial_by(Some(identity), host, &only(testing::endpoint(address))).await
    }

    /// Asks for this host.
    async fn dial_as(&self, host: Host, endpoints: &Endpoints) -> Result<MeshStream, Error> {
        self.dial_by(self.identity.as_ref(), host, endpoints).await
    }

    async fn dial_by(
        &self,
        identity: Option<&Identity>,
        host: Host,
        endpoints: &Endpoints,
    ) -> Result<MeshStream, Error> {
        let target = Target::new(&host.to_string(), 3002).unwrap().with_protocol(self.protocol);
        let dialer = Dialer {
            target: &target,
            cluster: &self.cluster,
            identity,
            tls: &self.tls,
            mtls: self.mtls,
            lookup: &Upstream,
            hosts: &self.hosts.get(&self.cluster, &Arc::new(endpoints.clone())),
            deadline: Instant::now() + self.patience,
        };
        dialer.connect(&mut Rng::with_seed(1)).await
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
