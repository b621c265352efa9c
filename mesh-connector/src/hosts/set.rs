//! The endpoints of one cluster, as of one push.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use fastrand::Rng;
use nds_client::resources::{
    cluster::{CircuitBreakers, Cluster, ClusterName, OutlierDetection, SlowStart},
    endpoint::{Endpoint, Endpoints, HealthStatus, LocalityEndpoints},
};
use tokio::time::Instant;

use super::{host::Host, outlier, status::EndpointStatus};
use crate::{
    balance::{Candidate, HostHealth, Plan},
    error::{Error, ErrorKind},
};

/// During a slow start window, weights grow in this number of steps. Each step computes a new plan.
const PLANS_PER_WINDOW: u32 = 50;

/// The endpoints of one cluster, as of one push.
pub(crate) struct HostSet {
    cluster: Arc<Cluster>,
    endpoints: Arc<Endpoints>,
    /// The hosts, in the order of the endpoints.
    pub(super) hosts: Vec<Arc<Host>>,
    /// The transport socket of each endpoint ([`Cluster::transport_socket_index`]).
    sockets: Vec<usize>,
    pub(super) stats: Arc<ClusterStats>,
    plan: ArcSwapOption<PlanSnapshot>,
}

/// The statistics of one cluster. They continue when a push replaces the endpoints.
pub(crate) struct ClusterStats {
    /// The time to which all times in this module are relative.
    began: Instant,
    pub(super) connections: AtomicU32,
    pending: AtomicU32,
    /// The number of events of all hosts of the cluster. A load balancing plan is valid while this number is unchanged.
    pub(super) version: AtomicU64,
    next_host_id: AtomicU64,
}

/// A load balancing plan. It is valid until the time `until`, or until an earlier event changes the version of the
/// statistics.
pub(crate) struct PlanSnapshot {
    plan: Plan,
    version: u64,
    /// The time at which the plan expires. `None` if only events can change it.
    until: Option<Instant>,
}

/// Counts a pending connection until it is dropped.
pub(crate) struct PendingConnection(Arc<HostSet>);

impl Default for ClusterStats {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            connections: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            version: AtomicU64::new(0),
            next_host_id: AtomicU64::new(0),
        }
    }
}

impl ClusterStats {
    /// Returns the time since the cluster came into use.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the number of connections of the cluster, including pending ones.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl HostSet {
    /// Creates the set for a new push. Reuses the hosts of the previous set `before` that are still among the
    /// endpoints.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        endpoints: Arc<Endpoints>,
        before: Option<&Self>,
        stats: Arc<ClusterStats>,
    ) -> Self {
        let known: HashMap<&str, &Arc<Host>> =
            before.iter().flat_map(|set| &set.hosts).map(|host| (host.address(), host)).collect();
        let now = stats.now();
        let host = |address: String| match known.get(&*address) {
            Some(host) => Arc::clone(host),
            None => Arc::new(Host::new(stats.next_host_id.fetch_add(1, Ordering::Relaxed), address, now)),
        };
        let hosts = endpoints.iter().map(|(_, endpoint)| host(endpoint.authority())).collect();
        let sockets =
            endpoints.iter().map(|(_, endpoint)| cluster.transport_socket_index(endpoint)).collect();
        Self { cluster, endpoints, hosts, sockets, stats, plan: ArcSwapOption::empty() }
    }

    pub(crate) fn name(&self) -> &ClusterName {
        &self.cluster.name
    }

    /// Returns the number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Returns whether the set was created for this configuration.
    pub(crate) fn is_made_for(&self, cluster: &Arc<Cluster>) -> bool {
        Arc::ptr_eq(&self.cluster, cluster)
    }

    /// Returns the settings of outlier detection. `None` if the cluster has none.
    pub(super) fn outlier_detection(&self) -> Option<&OutlierDetection> {
        self.cluster.outlier_detection.as_ref()
    }

    pub(crate) fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// Returns the index of the endpoint that a connection tries first, for the current state of the hosts. `None` if
    /// no endpoint can be used. Wait-free if no event has occurred since the last call.
    pub(crate) fn first(&self, now: Instant, rng: &mut Rng) -> Option<usize> {
        self.with_plan(now, rng, |snapshot, rng| snapshot.plan().first(rng, |index| self.connections(index)))
    }

    /// Returns the plan for the current state of the hosts. Wait-free if no event has occurred since the last call.
    pub(crate) fn plan_snapshot(&self, rng: &mut Rng) -> Arc<PlanSnapshot> {
        self.with_plan(Instant::now(), rng, |snapshot, _| snapshot.clone())
    }

    fn with_plan<T>(
        &self,
        now: Instant,
        rng: &mut Rng,
        read: impl FnOnce(&Arc<PlanSnapshot>, &mut Rng) -> T,
    ) -> T {
        let version = self.stats.version.load(Ordering::Acquire);
        if let Some(snapshot) = &*self.plan.load()
            && snapshot.version == version
            && snapshot.until.is_none_or(|until| now < until)
        {
            return read(snapshot, rng);
        }
        let mut until = Duration::MAX;
        let candidates = self.candidates(now.saturating_duration_since(self.stats.began), &mut until);
        let plan = Plan::new(&candidates, &self.cluster.load_balancing, rng);
        let until = self.stats.began.checked_add(until);
        let snapshot = Arc::new(PlanSnapshot { plan, version, until });
        self.plan.store(Some(snapshot.clone()));
        read(&snapshot, rng)
    }

    /// Returns the candidates for load balancing, and sets `until` to the earliest time at which a candidate changes
    /// without an event, for instance because an ejection ends.
    fn candidates(&self, now: Duration, until: &mut Duration) -> Vec<Candidate> {
        let mut change = |at: Duration| {
            if now < at {
                *until = (*until).min(at);
            }
            now < at
        };
        let localities = self.endpoints.localities.iter().enumerate();
        let endpoints = localities
            .flat_map(|(at, locality)| locality.endpoints.iter().map(move |one| (at, locality, one)));
        let slow_start = self.cluster.load_balancing.slow_start;
        let mut candidate =
            |((at, locality, endpoint), host): ((usize, &LocalityEndpoints, &Endpoint), &Arc<Host>)| {
                let state = host.state();
                let ejected = change(state.ejected_until);
                let slow_start_factor = slow_start.map_or(1.0, |slow_start| {
                    let age = now.saturating_sub(host.since);
                    if age >= slow_start.window {
                        return 1.0;
                    }
                    let next = now.saturating_add(slow_start.window / PLANS_PER_WINDOW);
                    change(next.min(host.since.saturating_add(slow_start.window)));
                    slow_start_factor(age, slow_start)
                });
                Candidate {
                    priority: locality.priority,
                    locality: at,
                    locality_weight: locality.weight,
                    weight: endpoint.weight,
                    health: match endpoint.health {
                        _ if ejected => HostHealth::Unhealthy,
                        HealthStatus::Healthy | HealthStatus::Unknown => HostHealth::Healthy,
                        HealthStatus::Degraded => HostHealth::Degraded,
                        _ => HostHealth::Unhealthy,
                    },
                    recently_failed: change(state.deferred_until),
                    slow_start_factor,
                }
            };
        endpoints.zip(&self.hosts).map(&mut candidate).collect()
    }

    /// Returns the ID of a host, which is unique in the cluster and never reused.
    pub(crate) fn host_id(&self, index: usize) -> u64 {
        self.hosts[index].id()
    }

    /// Returns the index of the transport socket of an endpoint in the cluster.
    pub(crate) fn socket(&self, index: usize) -> usize {
        self.sockets[index]
    }

    /// Returns whether the set contains the host with this ID.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_host(&self, id: u64) -> bool {
        self.hosts.iter().any(|host| host.id() == id)
    }

    /// Returns the number of connections to an endpoint.
    pub(crate) fn connections(&self, index: usize) -> u32 {
        self.hosts[index].connections.load(Ordering::Relaxed)
    }

    pub(crate) fn endpoint(&self, index: usize) -> &Endpoint {
        let mut left = index;
        let mut localities = self.endpoints.localities.iter();
        loop {
            // This cannot happen: each index comes from a plan for these endpoints.
            let Some(locality) = localities.next() else {
                unreachable!("no locality contains endpoint {index}: {self:?}")
            };
            match locality.endpoints.get(left) {
                Some(endpoint) => return endpoint,
                None => left -= locality.endpoints.len(),
            }
        }
    }

    /// Returns the status of each endpoint, in the order of the last push.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = EndpointStatus> {
        let now = self.stats.now();
        self.endpoints
            .iter()
            .zip(&self.hosts)
            .map(move |((_, endpoint), host)| host.status(&self.cluster.name, endpoint.health, now))
    }

    /// Counts a pending connection until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// `TooManyConnections`: a limit of the cluster is reached.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<PendingConnection, Error> {
        let CircuitBreakers { max_connections, max_pending_requests, .. } = self.cluster.circuit_breakers;
        let full = |what: &str, limit: u32| {
            let message = format!(
                "`{}` has {limit} {what}, which is the limit of its DestinationRule",
                self.cluster.name
            );
            Err(Error::new(ErrorKind::TooManyConnections, message))
        };
        if self.stats.connections.load(Ordering::Relaxed) >= max_connections {
            return full("connections", max_connections);
        }
        let pending = PendingConnection(self.clone());
        match self.stats.pending.fetch_add(1, Ordering::Relaxed) {
            before if before >= max_pending_requests => full("pending connections", max_pending_requests),
            _ => Ok(pending),
        }
    }

    /// Ejects an endpoint, unless the maximum share of endpoints is already ejected. Returns whether it was ejected.
    pub(super) fn eject(&self, host: &Host, rules: &OutlierDetection, now: Duration) -> bool {
        let ejected = self.hosts.iter().filter(|host| host.state().record.is_ejected(now)).count();
        if !outlier::may_eject(ejected, self.hosts.len(), rules) {
            return false;
        }
        let mut state = host.lock();
        let time = state.record.eject(rules, now);
        (state.ejected_until, state.deferred_until) = (now.saturating_add(time), Duration::ZERO);
        let (cluster, endpoint, seconds) = (&self.cluster.name, host.address(), time.as_secs_f64());
        tracing::warn!(%cluster, endpoint, seconds, "outlier detection ejected an endpoint");
        true
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.0.stats.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PlanSnapshot {
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Returns the slow start factor of an endpoint of this age (Envoy
/// `source/extensions/load_balancing_policies/common/load_balancer_impl.cc`,
/// `EdfLoadBalancerBase::applySlowStartFactor`).
fn slow_start_factor(age: Duration, slow_start: SlowStart) -> f64 {
    let part = age.max(Duration::from_millis(1)).as_secs_f64() / slow_start.window.as_secs_f64();
    part.powf(1.0 / slow_start.aggression).max(slow_start.minimum_percent / 100.0).min(1.0)
}

impl fmt::Debug for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSet")
            .field("cluster", &self.cluster.name)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}
