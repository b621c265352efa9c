//! The endpoints of one cluster, as one push has them.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
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
    endpoint::{Endpoint, Endpoints, HealthStatus as EndpointHealth, LocalityEndpoints},
};
use tokio::time::Instant;

use super::{authority, host::Host, outlier, status::EndpointStatus};
use crate::{
    balance::{Candidate, Plan, Standing},
    error::{Error, ErrorKind},
};

/// In so many steps an endpoint grows to its weight.
const STEPS: u32 = 50;

/// The endpoints of one cluster, as one push has them.
pub(crate) struct HostSet {
    cluster: Arc<Cluster>,
    endpoints: Arc<Endpoints>,
    /// In the order of the endpoints.
    pub(super) hosts: Vec<Arc<Host>>,
    pub(super) stats: Arc<ClusterStats>,
    plan: ArcSwapOption<PlanSnapshot>,
}

/// The statistics of one cluster. They outlive pushes.
pub(crate) struct ClusterStats {
    /// The beginning of all times in here.
    began: Instant,
    pub(super) connections: AtomicU32,
    pending: AtomicU32,
    /// Counts the events of the cluster's hosts: a plan holds while it is unchanged.
    pub(super) version: AtomicU64,
    next_host_id: AtomicU64,
}

/// A plan, and how long it holds.
pub(crate) struct PlanSnapshot {
    plan: Plan,
    version: u64,
    until: Duration,
}

/// A connection that is being made, counted until it is dropped.
pub(crate) struct Pending(Arc<HostSet>);

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
    /// Since the cluster came into use.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many connections the cluster has, those under way included.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl HostSet {
    /// The hosts of `before` that are still among the endpoints are carried over.
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
        let hosts = endpoints.iter().map(|(_, endpoint)| host(authority(endpoint))).collect();
        Self { cluster, endpoints, hosts, stats, plan: ArcSwapOption::empty() }
    }

    pub(crate) fn name(&self) -> &ClusterName {
        &self.cluster.name
    }

    /// Whether it was made for this configuration.
    pub(crate) fn is_of(&self, cluster: &Arc<Cluster>) -> bool {
        Arc::ptr_eq(&self.cluster, cluster)
    }

    /// When an endpoint is ejected, where the cluster says so.
    pub(super) fn outlier_detection(&self) -> Option<&OutlierDetection> {
        self.cluster.outlier_detection.as_ref()
    }

    pub(crate) fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// Whom to try first, by the state of the hosts now. Wait-free while nothing happens to them.
    pub(crate) fn first(&self, now: Instant, rng: &mut Rng) -> Option<usize> {
        let now = now.saturating_duration_since(self.stats.began);
        self.with_plan(now, rng, |plan, rng| plan.first(rng, |index| self.connections(index)))
    }

    /// Whom to try first and next, by the state of the hosts now. Wait-free while nothing happens to them.
    pub(crate) fn plan(&self, rng: &mut Rng) -> Arc<PlanSnapshot> {
        self.with_plan(self.stats.now(), rng, |plan, _| plan.clone())
    }

    fn with_plan<T>(
        &self,
        now: Duration,
        rng: &mut Rng,
        look: impl FnOnce(&Arc<PlanSnapshot>, &mut Rng) -> T,
    ) -> T {
        let version = self.stats.version.load(Ordering::Acquire);
        if let Some(snapshot) = &*self.plan.load()
            && snapshot.version == version
            && now < snapshot.until
        {
            return look(snapshot, rng);
        }
        let mut until = Duration::MAX;
        let candidates = self.candidates(now, &mut until);
        let plan = Plan::new(&candidates, &self.cluster.load_balancing, rng);
        let snapshot = Arc::new(PlanSnapshot { plan, version, until });
        self.plan.store(Some(snapshot.clone()));
        look(&snapshot, rng)
    }

    /// `until` becomes the time at which the first of them changes by itself.
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
                let seen = host.seen();
                let ejected = change(seen.ejected_until);
                let grown = slow_start.map_or(1.0, |slow_start| {
                    let age = now.saturating_sub(host.since);
                    if age >= slow_start.window {
                        return 1.0;
                    }
                    change((now + slow_start.window / STEPS).min(host.since + slow_start.window));
                    grown(age, slow_start)
                });
                Candidate {
                    priority: locality.priority,
                    locality: at,
                    locality_weight: locality.weight,
                    weight: endpoint.weight,
                    standing: match endpoint.health {
                        _ if ejected => Standing::Out,
                        EndpointHealth::Healthy | EndpointHealth::Unknown => Standing::Healthy,
                        EndpointHealth::Degraded => Standing::Degraded,
                        _ => Standing::Out,
                    },
                    deferred: change(seen.deferred_until),
                    grown,
                }
            };
        endpoints.zip(&self.hosts).map(&mut candidate).collect()
    }

    /// The number of a host, which no other host of this cluster ever had.
    pub(crate) fn host_id(&self, index: usize) -> u64 {
        self.hosts[index].id()
    }

    /// Whether a host is among the endpoints.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_host(&self, id: u64) -> bool {
        self.hosts.iter().any(|host| host.id() == id)
    }

    /// How many connections an endpoint has.
    pub(crate) fn connections(&self, index: usize) -> u32 {
        self.hosts[index].connections.load(Ordering::Relaxed)
    }

    pub(crate) fn endpoint(&self, index: usize) -> &Endpoint {
        let mut left = index;
        let mut localities = self.endpoints.localities.iter();
        loop {
            // An index comes from a plan over these endpoints.
            let Some(locality) = localities.next() else { unreachable!("endpoint {index} of {self:?}") };
            match locality.endpoints.get(left) {
                Some(endpoint) => return endpoint,
                None => left -= locality.endpoints.len(),
            }
        }
    }

    /// What is known of each endpoint, in their order.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = EndpointStatus> {
        let now = self.stats.now();
        self.endpoints
            .iter()
            .zip(&self.hosts)
            .map(move |((_, endpoint), host)| host.status(&self.cluster.name, endpoint.health, now))
    }

    /// A place among the connections that are being made.
    ///
    /// # Errors
    ///
    /// `TooManyConnections`: the cluster's limit.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Pending, Error> {
        let CircuitBreakers { max_connections, max_pending_requests, .. } = self.cluster.circuit_breakers;
        let full = |what: &str, limit: u32| {
            let message =
                format!("`{}` has {limit} {what}, as many as its DestinationRule allows", self.cluster.name);
            Err(Error::new(ErrorKind::TooManyConnections, message))
        };
        if self.stats.connections.load(Ordering::Relaxed) >= max_connections {
            return full("connections", max_connections);
        }
        let pending = Pending(self.clone());
        match self.stats.pending.fetch_add(1, Ordering::Relaxed) {
            before if before >= max_pending_requests => full("connections under way", max_pending_requests),
            _ => Ok(pending),
        }
    }

    /// Ejects an endpoint, if one more may be.
    pub(super) fn eject(&self, host: &Host, rules: &OutlierDetection, now: Duration) -> bool {
        let ejected = self.hosts.iter().filter(|host| host.seen().record.is_ejected(now)).count();
        if !outlier::may_eject(ejected, self.hosts.len(), rules) {
            return false;
        }
        let mut seen = host.lock();
        let time = seen.record.eject(rules, now);
        (seen.ejected_until, seen.deferred_until) = (now + time, Duration::ZERO);
        let (cluster, endpoint, seconds) = (&self.cluster.name, host.address(), time.as_secs_f64());
        tracing::warn!(%cluster, endpoint, seconds, "an endpoint is ejected");
        true
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.stats.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for PlanSnapshot {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// The part of its weight that an endpoint of this age has grown to (Envoy
/// `source/extensions/load_balancing_policies/common/load_balancer_impl.cc`, `EdfLoadBalancerBase::applySlowStartFactor`).
fn grown(age: Duration, slow_start: SlowStart) -> f64 {
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
