//! The endpoints of one cluster, as one push has them.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use fastrand::Rng;
use nds_client::{
    CircuitBreakers, Cluster, ClusterName, Endpoint, EndpointHealth, Endpoints, LoadBalancing,
    LocalityEndpoints, OutlierDetection, SlowStart,
};
use tokio::time::Instant;

use super::{EndpointStatus, Held, authority, host::Host, outlier};
use crate::{
    Error, ErrorKind,
    balance::{Candidate, Plan, Standing},
};

/// In so many steps an endpoint grows to its weight.
const STEPS: u32 = 50;

/// The endpoints of one cluster, of one push.
pub(crate) struct HostSet {
    pub(super) name: ClusterName,
    /// Tells whether it is of this cluster, without keeping the cluster alive.
    cluster: Weak<Cluster>,
    endpoints: Arc<Endpoints>,
    load_balancing: LoadBalancing,
    pub(super) outlier_detection: Option<OutlierDetection>,
    circuit_breakers: CircuitBreakers,
    /// In the order of the endpoints.
    pub(super) hosts: Vec<Arc<Host>>,
    pub(super) shared: Arc<Shared>,
    look: ArcSwapOption<Look>,
}

/// What outlives a push.
pub(super) struct Shared {
    began: Instant,
    pub(super) connections: AtomicU32,
    pending: AtomicU32,
    /// Counts what happened to the cluster's endpoints.
    pub(super) version: AtomicU64,
}

/// A plan, and how long it holds.
pub(crate) struct Look {
    plan: Plan,
    version: u64,
    until: Duration,
}

/// A connection that is being made, counted until it is dropped.
pub(crate) struct Pending(Arc<HostSet>);

impl HostSet {
    pub(super) fn new(
        cluster: &Arc<Cluster>,
        endpoints: &Arc<Endpoints>,
        before: Option<&Arc<Self>>,
        began: Instant,
    ) -> Self {
        let fresh = || Shared {
            began,
            connections: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            version: AtomicU64::new(0),
        };
        let shared = before.map_or_else(|| Arc::new(fresh()), |set| set.shared.clone());
        let known: HashMap<&str, &Arc<Host>> =
            before.iter().flat_map(|set| &set.hosts).map(|host| (&*host.address, host)).collect();
        let now = shared.now();
        let host = |address: String| match known.get(&*address) {
            Some(host) => Arc::clone(host),
            None => Arc::new(Host::new(address, now)),
        };
        Self {
            name: cluster.name.clone(),
            cluster: Arc::downgrade(cluster),
            endpoints: endpoints.clone(),
            load_balancing: cluster.load_balancing.clone(),
            outlier_detection: cluster.outlier_detection.clone(),
            circuit_breakers: cluster.circuit_breakers,
            hosts: endpoints.iter().map(|(_, endpoint)| host(authority(endpoint))).collect(),
            shared,
            look: ArcSwapOption::empty(),
        }
    }

    pub(super) fn is_of(&self, cluster: &Arc<Cluster>, endpoints: &Arc<Endpoints>) -> bool {
        std::ptr::eq(self.cluster.as_ptr(), Arc::as_ptr(cluster)) && Arc::ptr_eq(&self.endpoints, endpoints)
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.cluster.strong_count() > 0 || self.shared.connections.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn name(&self) -> &ClusterName {
        &self.name
    }

    pub(crate) fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// Looks at the endpoints as they are now.
    pub(crate) fn look(&self, rng: &mut Rng) -> Arc<Look> {
        let now = self.shared.now();
        let version = self.shared.version.load(Ordering::Acquire);
        if let Some(look) = &*self.look.load()
            && look.version == version
            && now < look.until
        {
            return look.clone();
        }
        let mut until = Duration::MAX;
        let candidates = self.candidates(now, &mut until);
        let look = Arc::new(Look { plan: Plan::new(&candidates, &self.load_balancing, rng), version, until });
        self.look.store(Some(look.clone()));
        look
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
        let slow_start = self.load_balancing.slow_start;
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
        let now = self.shared.now();
        self.endpoints
            .iter()
            .zip(&self.hosts)
            .map(move |((_, endpoint), host)| host.status(&self.name, endpoint.health, now))
    }

    /// A place among the connections that are being made.
    ///
    /// # Errors
    ///
    /// `TooManyConnections`: the cluster's limit.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Pending, Error> {
        let CircuitBreakers { max_connections, max_pending_requests, .. } = self.circuit_breakers;
        let full = |what: &str, limit: u32| {
            let message =
                format!("`{}` has {limit} {what}, as many as its DestinationRule allows", self.name);
            Err(Error::new(ErrorKind::TooManyConnections, message))
        };
        if self.shared.connections.load(Ordering::Relaxed) >= max_connections {
            return full("connections", max_connections);
        }
        let pending = Pending(self.clone());
        match self.shared.pending.fetch_add(1, Ordering::Relaxed) {
            before if before >= max_pending_requests => full("connections under way", max_pending_requests),
            _ => Ok(pending),
        }
    }

    /// Counts a connection to an endpoint, until what is returned is dropped.
    pub(crate) fn hold(self: &Arc<Self>, index: usize) -> Held {
        let host = self.hosts[index].clone();
        host.connections.fetch_add(1, Ordering::Relaxed);
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        Held::new(self.clone(), host)
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
        let (cluster, endpoint, seconds) = (&self.name, &host.address, time.as_secs_f64());
        tracing::warn!(%cluster, endpoint, seconds, "an endpoint is ejected");
        true
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.shared.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Since the membership began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Deref for Look {
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
            .field("cluster", &self.name)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}
