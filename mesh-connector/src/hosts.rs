//! What this process has seen of the endpoints of each cluster: connections, failures, ejections.
//!
//! istiod's EDS does not know what a client sees, and a gateway's health is never known at all. Two things follow from
//! what is seen:
//!
//! - Where the cluster has outlier detection, an endpoint that reached its numbers is ejected as a sidecar ejects it: it
//!   is healthy no more, for the choice of priorities too, until its time is over.
//! - Where it has none, or as many are ejected as may be, an endpoint that failed goes behind the others of its cluster,
//!   whatever their priority, for a second, and for twice as long with each further failure; the first success ends it.
//!   It is not taken away: where all fail, all are tried. This is the client's own, because it has the deadline of its
//!   caller to keep.
//!
//! Choosing is wait-free: a [`HostSet`] is the endpoints of one push, with the [`Plan`] of the last look at them, which
//! holds until something happened to one of them. Events are rare, and take a lock of the endpoint's own.

mod host;
mod outlier;
mod set;
mod status;

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use nds_client::{Cluster, ClusterName, Endpoint, Endpoints};
use tokio::time::Instant;

pub use self::status::EndpointStatus;
pub(crate) use self::{host::Held, outlier::failures_to_eject, set::HostSet};
#[cfg(doc)]
use crate::balance::Plan;

/// `10.1.2.3:15443`, `[::1]:15443`.
pub(crate) fn authority(endpoint: &Endpoint) -> String {
    let (host, port) = (&endpoint.host, endpoint.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The endpoints of all clusters in use, of one membership. Reading is wait-free.
pub(crate) struct HostSets {
    began: Instant,
    sets: ArcSwap<HashMap<ClusterName, Arc<HostSet>>>,
}

impl HostSets {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), sets: ArcSwap::default() }
    }

    /// The endpoints of a cluster as they were last pushed, with what is known of them.
    pub(crate) fn get(&self, cluster: &Arc<Cluster>, endpoints: &Arc<Endpoints>) -> Arc<HostSet> {
        let known = |sets: &HashMap<ClusterName, Arc<HostSet>>| {
            sets.get(&cluster.name).filter(|set| set.is_of(cluster, endpoints)).cloned()
        };
        if let Some(set) = known(&self.sets.load()) {
            return set;
        }
        let fresh = |sets: &HashMap<ClusterName, Arc<HostSet>>| {
            Arc::new(HostSet::new(cluster, endpoints, sets.get(&cluster.name), self.began))
        };
        self.sets.rcu(|sets| {
            if known(sets).is_some() {
                return sets.clone();
            }
            let mut next = HashMap::clone(sets);
            next.retain(|_, set| set.is_in_use());
            next.insert(cluster.name.clone(), fresh(sets));
            Arc::new(next)
        });
        let sets = self.sets.load();
        known(&sets).unwrap_or_else(|| fresh(&sets))
    }

    /// Every endpoint of every cluster in use, in order.
    pub(crate) fn statuses(&self) -> Vec<EndpointStatus> {
        let sets = self.sets.load();
        let mut all: Vec<_> = sets.values().flat_map(|set| set.statuses()).collect();
        all.sort_by(|a, b| (&a.cluster, &a.endpoint).cmp(&(&b.cluster, &b.endpoint)));
        all
    }
}

impl fmt::Debug for HostSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sets.load().keys()).finish()
    }
}

#[cfg(test)]
mod tests;
