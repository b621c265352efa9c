//! An endpoint with its statistics and connections.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nds_client::resources::{cluster::ClusterName, endpoint::HealthStatus};
use parking_lot::{Mutex, MutexGuard};

use super::{outlier::Record, status::EndpointStatus};
use crate::error::ErrorKind;

/// An endpoint with its statistics.
pub(crate) struct Host {
    id: u64,
    address: String,
    /// The time at which the endpoint first appeared, relative to the start of the statistics of the cluster.
    pub(super) since: Duration,
    pub(super) connections: AtomicU32,
    /// The number of consecutive connection failures. While it is 0, a success does not need the lock.
    pub(super) failures: AtomicU32,
    state: Mutex<HostState>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostState {
    pub(super) record: Record,
    pub(super) ejected_until: Duration,
    pub(super) deferred_until: Duration,
    pub(super) failed_at: Duration,
    pub(super) last: Option<ErrorKind>,
}

impl Host {
    pub(super) fn new(id: u64, address: String, since: Duration) -> Self {
        let (connections, failures, state) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::default());
        Self { id, address, since, connections, failures, state }
    }

    /// Returns the ID of the host, which is unique in the cluster and never reused.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the address: `10.1.2.3:15443`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock()
    }

    pub(super) fn state(&self) -> HostState {
        *self.lock()
    }

    pub(super) fn status(
        &self,
        cluster: &ClusterName,
        health: HealthStatus,
        now: Duration,
    ) -> EndpointStatus {
        let state = self.state();
        let failures = self.failures.load(Ordering::Relaxed);
        EndpointStatus {
            cluster: cluster.to_string(),
            endpoint: self.address.clone(),
            health,
            connections: self.connections.load(Ordering::Relaxed),
            failures,
            last_failure: state.last.filter(|_| failures > 0),
            deferred_for: state.deferred_until.saturating_sub(now),
            ejected_for: state.ejected_until.saturating_sub(now),
            ejections: state.record.ejections,
        }
    }
}
