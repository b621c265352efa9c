//! A route for consecutive requests to one target.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{ClusterEntry, ClusterManager};
use crate::hosts::HostSet;

/// The time for which a cached route is used. Routing the target again marks its endpoints as used.
const LIFETIME: Duration = Duration::from_secs(1);

/// The cluster to which a target was routed, with its endpoints. [`ClusterManager::may_use`] tells whether it is current.
#[derive(Debug)]
pub(crate) struct CachedRoute {
    pub(crate) entry: Arc<ClusterEntry>,
    pub(crate) hosts: Arc<HostSet>,
    versions: Versions,
    until: Instant,
}

/// The number of changes of everything that a route is derived from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Versions {
    pub(super) names: u64,
    pub(super) clusters: u64,
    pub(super) identity: u64,
    /// The changes of the endpoints of all clusters.
    pub(super) endpoints: u64,
}

impl CachedRoute {
    /// Creates a route that was derived from the state of the control plane with these versions, or from a newer one.
    pub(crate) fn new(
        entry: Arc<ClusterEntry>,
        hosts: Arc<HostSet>,
        versions: Versions,
        now: Instant,
    ) -> Self {
        Self { entry, hosts, versions, until: now + LIFETIME }
    }
}

impl ClusterManager {
    /// Returns whether routing the target again would lead to the same cluster and the same endpoints.
    pub(crate) fn may_use(&self, route: &CachedRoute, now: Instant) -> bool {
        now < route.until && !route.entry.is_retired() && route.versions == self.versions()
    }
}
