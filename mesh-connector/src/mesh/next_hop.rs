//! The first endpoint of a connection.

use std::{fmt, sync::Arc};

use fastrand::Rng;
use nds_client::resources::{cluster::ClusterName, endpoint::Endpoint};
use tokio::time::Instant;

use crate::hosts::HostSet;

/// The endpoint that a connection would try first.
#[derive(Clone)]
pub struct NextHop {
    hosts: Arc<HostSet>,
    index: usize,
}

impl NextHop {
    /// Chooses an endpoint. `None` if no endpoint can be used.
    pub(super) fn choose(hosts: Arc<HostSet>, rng: &mut Rng) -> Option<Self> {
        let index = hosts.first(Instant::now(), rng)?;
        Some(Self { hosts, index })
    }

    /// Returns the name of the cluster of the endpoint.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        self.hosts.name()
    }

    /// Returns the endpoint: a workload or a gateway.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.hosts.endpoint(self.index)
    }
}

impl fmt::Debug for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextHop").field("cluster", self.cluster()).field("endpoint", self.endpoint()).finish()
    }
}
