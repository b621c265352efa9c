//! A route for consecutive requests to one target.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{ClusterEntry, ClusterManager};
use crate::hosts::HostSet;

/// The time for which a cached route is used. After it, the target is routed again, which also marks its endpoints as
/// used.
const LIFETIME: Duration = Duration::from_secs(1);

/// The cluster to which a target was routed, with its endpoints. [`ClusterManager::may_use`] returns whether this route
/// is current.
#[derive(Debug)]
pub(crate) struct CachedRoute {
    pub(crate) entry: Arc<ClusterEntry>,
    pub(crate) hosts: Arc<HostSet>,
    versions: Versions,
    /// The version of the endpoints.
    endpoints: u64,
    until: Instant,
}

/// The versions ([`Watch::version`](nds_client::watch::Watch::version)) of everything that a route is derived from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Versions {
    pub(super) names: u64,
    pub(super) clusters: u64,
    pub(super) identity: u64,
}

impl CachedRoute {
    /// Creates a route. The caller must read the versions before it determines the cluster and its endpoints.
    pub(crate) fn new(
        entry: Arc<ClusterEntry>,
        hosts: Arc<HostSet>,
        versions: Versions,
        endpoints: u64,
        now: Instant,
    ) -> Self {
        Self { entry, hosts, versions, endpoints, until: now + LIFETIME }
    }
}

impl ClusterManager {
    /// Returns whether routing the target again would lead to the same cluster and the same endpoints.
    pub(crate) fn may_use(&self, route: &CachedRoute, now: Instant) -> bool {
        let CachedRoute { entry, versions, endpoints, until, .. } = route;
        now < *until
            && !entry.is_retired()
            && *versions == self.versions()
            && *endpoints == entry.endpoints_version()
    }
}
