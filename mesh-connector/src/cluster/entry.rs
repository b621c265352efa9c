//! One cluster in use, with its configuration, endpoints and connections.

#[cfg(feature = "hyper")]
use std::sync::atomic::AtomicBool;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use nds_client::{
    Identity, NdsClient,
    resources::{
        cluster::{Cluster, ClusterName, DiscoveryType as Discovery},
        endpoint::Endpoints,
    },
    watch::EndpointsWatch,
};
use parking_lot::Mutex;
use sidestep_util::bounded_map::BoundedMap;

use super::original_destination::original_destination;
#[cfg(feature = "hyper")]
use crate::http::HttpPools;
use crate::{
    dns::MeshNames,
    hosts::{ClusterStats, EndpointStatus, HostSet},
    target::{Host, Target},
    tls::TlsConfigs,
};

/// The time after which a cluster with inline endpoints is dropped if it is unused and has no connections. A cluster
/// with endpoints from EDS is dropped when its subscription has ended and it has no connections.
pub(super) const INLINE_IDLE: Duration = Duration::from_secs(300);

/// The number of targets per generation of [`ClusterEntry::destinations`], a [`BoundedMap`].
const DESTINATIONS: usize = 1024;

/// A cluster in use: its configuration and endpoints, and the TLS configurations and HTTP connections for one identity
/// of the workload (Envoy: `ClusterManagerImpl::ClusterEntry`).
///
/// The configuration and the identity never change. A push that changes the configuration, or a new identity, replaces
/// the entry, and the HTTP connections of the old entry serve no further request. A push of endpoints replaces the
/// [`HostSet`]. The statistics continue in all these cases.
pub(crate) struct ClusterEntry {
    config: Arc<Cluster>,
    /// The identity of the workload. `None` before the first certificate.
    identity: Option<Arc<Identity>>,
    tls: TlsConfigs,
    source: EndpointSource,
    /// The endpoints that were used most recently. `None` before the first use.
    hosts: ArcSwapOption<HostSet>,
    updating: Mutex<()>,
    /// The endpoints of each target, for an original destination cluster without endpoints in EDS.
    destinations: Mutex<Destinations>,
    stats: Arc<ClusterStats>,
    /// The time of the last use of inline endpoints, in seconds since the cluster came into use.
    used: AtomicU64,
    #[cfg(feature = "hyper")]
    http: HttpPools,
    /// Whether the entry was replaced or removed.
    #[cfg(feature = "hyper")]
    retired: AtomicBool,
}

type Destinations = BoundedMap<(Host, u16), Arc<HostSet>>;

/// The source of the endpoints of a cluster.
pub(crate) enum EndpointSource {
    /// The endpoints are part of the cluster resource.
    Inline(Arc<Endpoints>),
    /// The endpoints come from EDS.
    Eds(EndpointsWatch),
    /// The endpoints come from EDS. If EDS has none, the endpoint is the address that the caller requested.
    OriginalDestination(EndpointsWatch),
}

impl EndpointSource {
    pub(super) fn of(config: &Cluster, client: &NdsClient) -> Self {
        match (&config.discovery, config.eds_name()) {
            (Discovery::Inline(endpoints), _) => Self::Inline(endpoints.clone()),
            (Discovery::OriginalDestination, Some(name)) => {
                Self::OriginalDestination(client.endpoints(&name))
            }
            (_, Some(name)) => Self::Eds(client.endpoints(&name)),
            (_, None) => Self::Inline(Arc::default()),
        }
    }
}

impl ClusterEntry {
    /// Creates an entry. If it replaces the entry `before`, the hosts and statistics of `before` are reused.
    pub(crate) fn new(
        config: Arc<Cluster>,
        identity: Option<Arc<Identity>>,
        tls: TlsConfigs,
        source: EndpointSource,
        before: Option<&Self>,
    ) -> Self {
        let stats = before.map_or_else(Arc::default, |before| before.stats.clone());
        let known = before.and_then(|before| before.hosts.load_full());
        let hosts = known.map(|known| {
            let endpoints = known.endpoints().clone();
            Arc::new(HostSet::new(config.clone(), endpoints, Some(&known), stats.clone()))
        });
        let no_destinations = || Destinations::new(DESTINATIONS);
        let destinations = before.map_or_else(no_destinations, |before| before.destinations.lock().clone());
        Self {
            #[cfg(feature = "hyper")]
            http: HttpPools::new(config.connection_limits),
            #[cfg(feature = "hyper")]
            retired: AtomicBool::new(false),
            config,
            identity,
            tls,
            source,
            hosts: ArcSwapOption::new(hosts),
            updating: Mutex::new(()),
            destinations: Mutex::new(destinations),
            used: AtomicU64::new(stats.now().as_secs()),
            stats,
        }
    }

    /// Returns whether the entry was created for this configuration and identity.
    pub(crate) fn is_made_for(&self, config: &Arc<Cluster>, identity: Option<&Arc<Identity>>) -> bool {
        Arc::ptr_eq(&self.config, config) && same_identity(self.identity.as_ref(), identity)
    }

    /// Returns whether the cluster is unused: it has no connections and, if its endpoints come from EDS, no
    /// subscription or, if they are inline, no use within [`INLINE_IDLE`].
    pub(super) fn is_idle(&self) -> bool {
        let in_use = match &self.source {
            EndpointSource::Inline(_) => {
                self.stats.now() < Duration::from_secs(self.used.load(Relaxed)) + INLINE_IDLE
            }
            EndpointSource::Eds(watch) | EndpointSource::OriginalDestination(watch) => watch.is_subscribed(),
        };
        !in_use && !self.has_connections()
    }

    pub(super) fn has_connections(&self) -> bool {
        self.stats.connections() > 0
    }

    pub(crate) fn name(&self) -> &ClusterName {
        &self.config.name
    }

    pub(crate) fn config(&self) -> &Arc<Cluster> {
        &self.config
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    pub(crate) fn tls(&self) -> &TlsConfigs {
        &self.tls
    }

    /// Returns the HTTP connections of the cluster.
    #[cfg(feature = "hyper")]
    pub(crate) fn http(&self) -> &HttpPools {
        &self.http
    }

    /// Stops new requests from using the entry, because it was replaced or removed.
    pub(super) fn retire(&self) {
        #[cfg(feature = "hyper")]
        {
            self.retired.store(true, Relaxed);
            self.http.drain();
        }
    }

    #[cfg(feature = "hyper")]
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Returns a number that changes when the endpoints change.
    #[cfg(feature = "hyper")]
    pub(crate) fn endpoints_version(&self) -> u64 {
        match &self.source {
            EndpointSource::Inline(_) => 0,
            EndpointSource::Eds(watch) | EndpointSource::OriginalDestination(watch) => watch.version(),
        }
    }

    /// Returns whether all targets of the cluster have the same endpoints.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_common_hosts(&self) -> bool {
        !matches!(self.source, EndpointSource::OriginalDestination(_))
    }

    /// Returns the most recently pushed endpoints for a target. `None` before the first push. Wait-free between pushes.
    pub(crate) fn hosts(&self, target: &Target, names: &impl MeshNames) -> Option<Arc<HostSet>> {
        Some(match &self.source {
            EndpointSource::Inline(endpoints) => {
                self.used.store(self.stats.now().as_secs(), Relaxed);
                self.hosts_of(endpoints.clone())
            }
            EndpointSource::Eds(watch) => self.hosts_of(watch.current()?),
            EndpointSource::OriginalDestination(watch) => match watch.current()? {
                none if none.is_empty() => {
                    let port = self.config.upstream_port_override;
                    self.destination(target, original_destination(target, port, names))
                }
                endpoints => self.hosts_of(endpoints),
            },
        })
    }

    /// Applies the most recently pushed endpoints, if the cluster has used endpoints before.
    pub(super) fn refresh_hosts(&self) {
        let (EndpointSource::Eds(watch) | EndpointSource::OriginalDestination(watch)) = &self.source else {
            return;
        };
        // If EDS has no endpoints for an original destination cluster, each target has its own endpoints.
        let is_news = |endpoints: &Arc<Endpoints>| match &*self.hosts.load() {
            Some(hosts) => !(hosts.endpoints().is_empty() && endpoints.is_empty()),
            None => false,
        };
        if let Some(endpoints) = watch.peek().filter(is_news) {
            self.hosts_of(endpoints);
        }
    }

    /// Returns the resource name of the endpoints in EDS. `None` for inline endpoints.
    pub(crate) fn eds_name(&self) -> Option<&str> {
        match &self.source {
            EndpointSource::Inline(_) => None,
            EndpointSource::Eds(watch) | EndpointSource::OriginalDestination(watch) => Some(watch.eds_name()),
        }
    }

    /// Returns the host set of these endpoints. Hosts of the previous set retain their statistics.
    pub(crate) fn hosts_of(&self, endpoints: Arc<Endpoints>) -> Arc<HostSet> {
        if let Some(hosts) = self.current_hosts(&endpoints) {
            return hosts;
        }
        let _guard = self.updating.lock();
        if let Some(hosts) = self.current_hosts(&endpoints) {
            return hosts;
        }
        let before = self.hosts.load_full();
        let next = HostSet::new(self.config.clone(), endpoints, before.as_deref(), self.stats.clone());
        let next = Arc::new(next);
        self.hosts.store(Some(next.clone()));
        *self.destinations.lock() = Destinations::new(DESTINATIONS);
        #[cfg(feature = "hyper")]
        self.http.retain(|key| next.has_host(key.host));
        next
    }

    /// Returns the host set of `endpoints`, the endpoints of one target.
    fn destination(&self, target: &Target, endpoints: Endpoints) -> Arc<HostSet> {
        let key = (target.host().clone(), target.port());
        let mut destinations = self.destinations.lock();
        let known = destinations.get(&key);
        if let Some(hosts) = &known
            && hosts.is_made_for(&self.config)
            && **hosts.endpoints() == endpoints
        {
            return Arc::clone(hosts);
        }
        let before = known.map(|hosts| &**hosts);
        let next = HostSet::new(self.config.clone(), Arc::new(endpoints), before, self.stats.clone());
        let next = Arc::new(next);
        destinations.insert(key, next.clone(), 1);
        next
    }

    fn current_hosts(&self, endpoints: &Arc<Endpoints>) -> Option<Arc<HostSet>> {
        let hosts = self.hosts.load();
        hosts.as_ref().filter(|hosts| Arc::ptr_eq(hosts.endpoints(), endpoints)).cloned()
    }

    /// Returns the status of each endpoint that is in use, in the order of the last push.
    pub(crate) fn statuses(&self) -> Vec<EndpointStatus> {
        let (hosts, destinations) = (self.hosts.load(), self.destinations.lock());
        hosts.iter().chain(destinations.values()).flat_map(|hosts| hosts.statuses()).collect()
    }
}

/// Returns whether both arguments are the same published identity (the same `Arc`).
pub(super) fn same_identity(one: Option<&Arc<Identity>>, other: Option<&Arc<Identity>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl fmt::Debug for ClusterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterEntry")
            .field("name", &self.config.name)
            .field("hosts", &self.hosts.load())
            .finish_non_exhaustive()
    }
}
