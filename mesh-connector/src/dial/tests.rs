//! Dials workloads in this process.

mod failures;
mod identities;
mod originated;
mod policies;

use std::net::{IpAddr, SocketAddr};

use nds_client::{
    Identity,
    resources::endpoint::{Endpoint, Endpoints},
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    cluster::EndpointSource,
    connection::Transport,
    hosts::EndpointStatus,
    target::{Host, Protocol},
    testing::{self, Authority, Server, auto_mtls, endpoints, locality},
    tls::{TlsConfigs, TlsSettings},
};

const NAME: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const SNI: &str = "outbound_.3002_._.forecast.weather.svc.cluster.local";
const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";
const CLIENT: &str = "spiffe://cluster.local/ns/vms/sa/vm";

/// Errors of Linux.
const EMFILE: i32 = 24;
const EADDRNOTAVAIL: i32 = 99;

/// An upstream DNS that knows one name. Connections to other names fail on this host.
struct Upstream;

impl UpstreamLookup for Upstream {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        match host {
            "localhost.test" => Ok(vec![[127, 0, 0, 1].into()]),
            "no-descriptor.test" => Err(Error::dial("", std::io::Error::from_raw_os_error(EMFILE))),
            "no-address.test" => Err(Error::dial("", std::io::Error::from_raw_os_error(EADDRNOTAVAIL))),
            _ => Err(Error::new(ErrorKind::UnknownHost, format!("`{host}` is unknown"))),
        }
    }
}

/// The inputs of dialling in a test, with defaults for everything except the endpoints.
struct Client {
    identity: Option<Arc<Identity>>,
    cluster: Arc<Cluster>,
    tls: Arc<TlsSettings>,
    mtls: Mtls,
    protocol: Protocol,
    time_limit: Duration,
    /// The entry of the last connection.
    entry: Mutex<Option<Arc<ClusterEntry>>>,
}

impl Client {
    fn new(identity: Identity, cluster: Cluster) -> Self {
        Self {
            identity: Some(Arc::new(identity)),
            cluster: Arc::new(cluster),
            tls: Arc::default(),
            mtls: Mtls::AsConfigured,
            protocol: Protocol::Tcp,
            time_limit: Duration::from_secs(30),
            entry: Mutex::default(),
        }
    }

    async fn dial(&self, endpoints: &Endpoints) -> Result<MeshStream, Error> {
        self.dial_as(Host::Name("forecast.weather".into()), endpoints).await
    }

    /// Dials with another identity.
    async fn dial_with(&self, identity: &Arc<Identity>, address: SocketAddr) -> Result<MeshStream, Error> {
        let host = Host::Name("forecast.weather".into());
        self.dial_by(Some(identity), host, &only(testing::endpoint(address))).await
    }

    /// Dials a target with this host.
    async fn dial_as(&self, host: Host, endpoints: &Endpoints) -> Result<MeshStream, Error> {
        self.dial_by(self.identity.as_ref(), host, endpoints).await
    }

    async fn dial_by(
        &self,
        identity: Option<&Arc<Identity>>,
        host: Host,
        endpoints: &Endpoints,
    ) -> Result<MeshStream, Error> {
        let target = Target::new(&host.to_string(), 3002).unwrap().with_protocol(self.protocol);
        let entry = self.entry(identity);
        let dialer = Dialer {
            target: &target,
            entry: &entry,
            hosts: &entry.hosts_of(Arc::new(endpoints.clone())),
            mtls: self.mtls,
            upstream: &Upstream,
            deadline: Instant::now() + self.time_limit,
        };
        dialer.connect(None, &mut Rng::with_seed(1)).await
    }

    /// Returns the entry of the cluster for an identity, as the manager creates it.
    fn entry(&self, identity: Option<&Arc<Identity>>) -> Arc<ClusterEntry> {
        let mut last = self.entry.lock();
        match &*last {
            Some(entry) if entry.is_made_for(&self.cluster, identity) => entry.clone(),
            before => {
                let tls = TlsConfigs::new(&self.cluster, self.tls.clone());
                let source = EndpointSource::Inline(Arc::default());
                let (cluster, identity) = (self.cluster.clone(), identity.cloned());
                let next = Arc::new(ClusterEntry::new(cluster, identity, tls, source, before.as_deref()));
                *last = Some(next.clone());
                next
            }
        }
    }

    fn statuses(&self) -> Vec<EndpointStatus> {
        self.entry.lock().as_ref().map(|entry| entry.statuses()).unwrap_or_default()
    }

    async fn dial_one(&self, address: SocketAddr) -> Result<MeshStream, Error> {
        self.dial(&only(testing::endpoint(address))).await
    }
}

fn only(endpoint: Endpoint) -> Endpoints {
    endpoints(vec![locality(0, 1, vec![endpoint])])
}

/// Returns endpoints that are tried in this order.
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
