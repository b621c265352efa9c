//! The clusters in use, and routing to them.
//!
//! Routes and entries are derived from the name table, the clusters and the identity. Only [`ClusterManager`] checks
//! whether they are up to date, and replaces outdated ones.

#[cfg(feature = "hyper")]
mod cached_route;
mod entry;
mod original_destination;
#[cfg(feature = "hyper")]
mod passthrough;
mod route;
mod static_gateways;

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    ptr,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use nds_client::{
    Identity, NdsClient, SpiffeId,
    config::ServerAddress,
    resources::{
        cluster::{Cluster, ClusterName, Clusters},
        name_table::NameTable,
    },
    watch::Watch,
};
use parking_lot::Mutex;
use sidestep_util::supervisor::supervise;
use tokio::sync::Notify;

#[cfg(feature = "hyper")]
pub(crate) use self::cached_route::{CachedRoute, Versions};
pub(crate) use self::entry::{ClusterEntry, EndpointSource};
#[cfg(feature = "hyper")]
use self::passthrough::PassthroughCluster;
use self::{entry::same_identity, static_gateways::StaticGateways};
use crate::{
    dns::Dns,
    error::Error,
    hosts::EndpointStatus,
    target::{Host, Target},
    tls::{TlsConfigs, TlsSettings},
};

/// The maximum number of cached routes. If it is exceeded, the cache is cleared.
const MAX_ROUTES: usize = 4096;

/// The maximum number of clusters in use. If it is exceeded, clusters without connections are dropped.
const MAX_ENTRIES: usize = 4096;

/// The route of a target: a cluster of the mesh, or passthrough.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// The connection goes to an endpoint of this cluster.
    Cluster(Arc<ClusterEntry>),
    /// The connection goes to a host outside the mesh (Envoy: `PassthroughCluster`).
    Passthrough,
}

/// The clusters in use by one membership. Routing a name again is wait-free and does not allocate.
pub(crate) struct ClusterManager {
    client: NdsClient,
    /// The static gateways, which replace the clusters of the control plane. `None` if the program has set none.
    static_gateways: Option<StaticGateways>,
    /// An empty set of clusters, for the snapshots of a program with static gateways.
    no_clusters: Arc<Clusters>,
    tls: Arc<TlsSettings>,
    #[cfg(feature = "hyper")]
    passthrough: PassthroughCluster,
    current: ArcSwap<Snapshot>,
    updating: Mutex<()>,
    /// Notifies the task that updates the clusters ([`follow`](Self::follow)) when the first cluster comes into use.
    in_use: Arc<Notify>,
}

/// The routes and the clusters in use, derived from one state of the control plane.
#[derive(Clone, Default)]
struct Snapshot {
    of: Option<Inputs>,
    /// The cached routes of targets with a host name. A route to an IP address is not cached, because it depends on the
    /// name that was last resolved to the address, and a change of that name does not invalidate this cache.
    routes: HashMap<Target, Route, RandomState>,
    entries: HashMap<ClusterName, Arc<ClusterEntry>>,
}

/// The state of the control plane from which routes and entries are derived.
#[derive(Clone)]
struct Inputs {
    names: Arc<NameTable>,
    /// The clusters of istiod. Empty if the program has set static gateways.
    clusters: Arc<Clusters>,
    identity: Option<Arc<Identity>>,
}

impl ClusterManager {
    pub(crate) fn new(client: NdsClient, gateways: Vec<ServerAddress>, tls: TlsSettings) -> Self {
        Self {
            client,
            static_gateways: (!gateways.is_empty()).then(|| StaticGateways::new(gateways)),
            no_clusters: Arc::default(),
            tls: Arc::new(tls),
            #[cfg(feature = "hyper")]
            passthrough: PassthroughCluster::new(),
            current: ArcSwap::default(),
            updating: Mutex::new(()),
            in_use: Arc::default(),
        }
    }

    /// Returns the HTTP connections to hosts outside the mesh.
    #[cfg(feature = "hyper")]
    pub(crate) fn passthrough(&self) -> &PassthroughCluster {
        &self.passthrough
    }

    /// Returns the xDS clusters that istiod has pushed, or `None` before the first push. The first call subscribes to
    /// them. If the program has configured static gateways, clusters of istiod are not used, and the set is empty.
    pub(crate) fn clusters(&self) -> Option<Arc<Clusters>> {
        match self.watch() {
            Some(clusters) => clusters.current(),
            None => Some(self.no_clusters.clone()),
        }
    }

    /// Returns the watch of the clusters of istiod. `None` if the program has set static gateways.
    pub(crate) fn watch(&self) -> Option<&Watch<Option<Arc<Clusters>>>> {
        match self.static_gateways {
            Some(_) => None,
            None => Some(self.client.clusters()),
        }
    }

    /// Returns the versions of the current state of the control plane.
    #[cfg(feature = "hyper")]
    pub(crate) fn versions(&self) -> Versions {
        Versions {
            names: self.client.names().version(),
            clusters: self.watch().map_or(0, Watch::version),
            identity: self.client.identity().version(),
        }
    }

    /// Routes a target with the current state of the control plane. `None` until istiod has sent its clusters.
    ///
    /// # Errors
    ///
    /// `UnknownHost`, `UnknownPort`, `UnknownSubset`, `Ambiguous`, `Unsupported`.
    pub(crate) fn route(&self, target: &Target, dns: &Dns) -> Option<Result<Route, Error>> {
        let snapshot = self.current.load();
        if !self.is_current(&snapshot) {
            return self.find_route(target, dns);
        }
        if let Some(route) = snapshot.routes.get(target) {
            return Some(Ok(route.clone()));
        }
        if let (Host::Ip(_), Some(inputs)) = (target.host(), &snapshot.of) {
            let entry = match self.find(target, inputs, dns) {
                Ok(Some(cluster)) => snapshot.entries.get(&cluster.name),
                Ok(None) => return Some(Ok(Route::Passthrough)),
                Err(error) => return Some(Err(error)),
            };
            if let Some(entry) = entry {
                return Some(Ok(Route::Cluster(entry.clone())));
            }
        }
        self.find_route(target, dns)
    }

    /// Runs [`follow`](Self::follow), and starts it again after a panic.
    pub(crate) async fn follow_supervised(manager: Weak<Self>) {
        let panicked = |delay| {
            tracing::error!(
                ?delay,
                "the task that updates the clusters panicked: it starts again after the delay"
            );
            // The new run must not wait for the first cluster in use, which may exist already.
            if let Some(manager) = manager.upgrade() {
                manager.in_use.notify_one();
            }
        };
        supervise(|| Self::follow(manager.clone()), panicked).await;
    }

    /// Updates the clusters in use after each push and each new identity, until the manager or the client of istiod is
    /// dropped. HTTP connections of changed clusters therefore end without waiting for a request.
    async fn follow(manager: Weak<Self>) {
        let Some(in_use) = manager.upgrade().map(|manager| manager.in_use.clone()) else { return };
        in_use.notified().await;
        let watches = manager.upgrade().map(|manager| {
            let client = &manager.client;
            (manager.watch().cloned(), client.identity().clone(), client.endpoint_changes())
        });
        let Some((mut clusters, mut identity, mut endpoints)) = watches else { return };
        loop {
            let clusters_changed = async {
                match &mut clusters {
                    Some(clusters) => clusters.changed().await,
                    None => pending().await,
                }
            };
            let goes_on = tokio::select! {
                goes_on = clusters_changed => goes_on,
                goes_on = identity.changed() => goes_on,
                goes_on = endpoints.changed() => goes_on,
            };
            match manager.upgrade() {
                Some(manager) if goes_on => manager.refresh(),
                _ => return,
            }
        }
    }

    /// Updates the clusters in use and their endpoints to the current state of the control plane.
    fn refresh(&self) {
        let updating = self.updating.lock();
        let mut snapshot = self.current.load_full();
        if !self.is_current(&snapshot)
            && let Some(inputs) = self.inputs()
        {
            let next = Arc::new(self.updated(&snapshot, &inputs));
            self.store(&snapshot, next.clone());
            snapshot = next;
        }
        drop(updating);
        snapshot.entries.values().for_each(|entry| entry.refresh_hosts());
    }

    /// Returns the status of all endpoints of the clusters in use, sorted by cluster and address.
    pub(crate) fn statuses(&self) -> Vec<EndpointStatus> {
        let snapshot = self.current.load();
        let mut all: Vec<_> = snapshot.entries.values().flat_map(|entry| entry.statuses()).collect();
        all.sort_by(|a, b| (&a.cluster, &a.endpoint).cmp(&(&b.cluster, &b.endpoint)));
        all
    }

    fn inputs(&self) -> Option<Inputs> {
        let (names, identity) = (self.client.names().get(), self.client.identity().current());
        Some(Inputs { names, clusters: self.clusters()?, identity })
    }

    /// Returns whether a snapshot was derived from the current state of the control plane.
    fn is_current(&self, snapshot: &Snapshot) -> bool {
        let Some(of) = &snapshot.of else { return false };
        let same_clusters = self.watch().is_none_or(|clusters| {
            clusters.load().as_ref().is_some_and(|clusters| Arc::ptr_eq(clusters, &of.clusters))
        });
        same_clusters
            && ptr::eq(&raw const *self.client.names().load(), Arc::as_ptr(&of.names))
            && same_identity(self.client.identity().load().as_ref(), of.identity.as_ref())
    }

    /// Returns the cluster of a target. `None` for a host outside the mesh.
    fn find(&self, target: &Target, inputs: &Inputs, dns: &Dns) -> Result<Option<Arc<Cluster>>, Error> {
        match &self.static_gateways {
            Some(gateways) => gateways.route(target, dns, inputs.own_id()),
            None => route::route(target, &inputs.clusters, dns),
        }
    }

    /// Routes a target that has no cached route, and caches the route and its cluster.
    fn find_route(&self, target: &Target, dns: &Dns) -> Option<Result<Route, Error>> {
        let _guard = self.updating.lock();
        let inputs = self.inputs()?;
        let snapshot = self.current.load();
        let is_current = self.is_current(&snapshot);
        let found = self.find(target, &inputs, dns);
        let is_remembered = found.is_ok() && matches!(target.host(), Host::Name(_));
        if is_current && !is_remembered && !matches!(found, Ok(Some(_))) {
            return Some(found.map(|_| Route::Passthrough));
        }
        let mut next = match is_current {
            true => Snapshot::clone(&snapshot),
            false => self.updated(&snapshot, &inputs),
        };
        let route = found.map(|cluster| {
            let Some(cluster) = cluster else { return Route::Passthrough };
            Route::Cluster(next.entry(&cluster.name, || self.entry(cluster.clone(), &inputs, None)))
        });
        if let (true, Ok(route)) = (is_remembered, &route) {
            if next.routes.len() >= MAX_ROUTES {
                next.routes.clear();
            }
            next.routes.insert(target.clone(), route.clone());
        }
        let is_first = snapshot.entries.is_empty() && !next.entries.is_empty();
        self.store(&snapshot, Arc::new(next));
        if is_first {
            self.in_use.notify_one();
        }
        Some(route)
    }

    /// Replaces the snapshot `before` by `next`. HTTP connections of entries that `next` does not contain serve no
    /// further request.
    fn store(&self, before: &Snapshot, next: Arc<Snapshot>) {
        self.current.store(next.clone());
        for (name, entry) in &before.entries {
            if next.entries.get(name).is_none_or(|next| !Arc::ptr_eq(next, entry)) {
                entry.retire();
            }
        }
    }

    /// Returns the new snapshot for the state `inputs` of the control plane. It replaces `snapshot`.
    fn updated(&self, snapshot: &Snapshot, inputs: &Inputs) -> Snapshot {
        let before = snapshot.of.as_ref().and_then(Inputs::own_id);
        let config = |cluster: &Arc<Cluster>| match &self.static_gateways {
            Some(gateways) => Some(gateways.successor(cluster, before, inputs.own_id())),
            None => inputs.cluster(&cluster.name),
        };
        snapshot.updated(inputs, config, |config, before| self.entry(config, inputs, Some(before)))
    }

    fn entry(
        &self,
        config: Arc<Cluster>,
        inputs: &Inputs,
        before: Option<&ClusterEntry>,
    ) -> Arc<ClusterEntry> {
        let tls = TlsConfigs::new(&config, self.tls.clone());
        let source = EndpointSource::of(&config, &self.client);
        Arc::new(ClusterEntry::new(config, inputs.identity.clone(), tls, source, before))
    }
}

impl Snapshot {
    /// Returns the entry of a cluster. If there is none, `fresh` creates it.
    fn entry(&mut self, name: &ClusterName, fresh: impl FnOnce() -> Arc<ClusterEntry>) -> Arc<ClusterEntry> {
        if let Some(entry) = self.entries.get(name) {
            return entry.clone();
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.routes.clear();
            self.entries.retain(|_, entry| entry.has_connections());
        }
        self.entries.entry(name.clone()).or_insert_with(fresh).clone()
    }

    /// Returns the snapshot for `inputs` that replaces this one. `config` returns the new configuration of a cluster,
    /// or `None` if the cluster was removed. Entries with the same configuration and identity are reused; `successor`
    /// replaces other entries. Entries of removed or idle clusters are dropped.
    fn updated(
        &self,
        inputs: &Inputs,
        config: impl Fn(&Arc<Cluster>) -> Option<Arc<Cluster>>,
        successor: impl Fn(Arc<Cluster>, &ClusterEntry) -> Arc<ClusterEntry>,
    ) -> Self {
        let updated = |entry: &Arc<ClusterEntry>| {
            let config = config(entry.config())?;
            Some(match entry.is_made_for(&config, inputs.identity.as_ref()) {
                true => entry.clone(),
                false => successor(config, entry),
            })
        };
        let in_use = self.entries.values().filter(|entry| !entry.is_idle());
        let entries = in_use.filter_map(updated).map(|entry| (entry.name().clone(), entry)).collect();
        Self { of: Some(inputs.clone()), routes: HashMap::default(), entries }
    }
}

impl Inputs {
    fn cluster(&self, name: &ClusterName) -> Option<Arc<Cluster>> {
        self.clusters.get(&name.host, name.port, &name.subset)
    }

    fn own_id(&self) -> Option<&SpiffeId> {
        self.identity.as_deref().map(Identity::spiffe_id)
    }
}

impl fmt::Debug for ClusterManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.current.load().entries.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
