//! One endpoint: its statistics and its connections.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nds_client::resources::{cluster::ClusterName, endpoint::HealthStatus as EndpointHealth};
use parking_lot::{Mutex, MutexGuard};

use super::{outlier::Record, status::EndpointStatus};
use crate::error::ErrorKind;

/// One endpoint.
pub(crate) struct Host {
    id: u64,
    address: String,
    /// When it was first seen.
    pub(super) since: Duration,
    pub(super) connections: AtomicU32,
    /// Failures in a row: what decides whether a success is worth the lock.
    pub(super) failures: AtomicU32,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) record: Record,
    pub(super) ejected_until: Duration,
    pub(super) deferred_until: Duration,
    pub(super) failed_at: Duration,
    pub(super) last: Option<ErrorKind>,
}

impl Host {
    pub(super) fn new(id: u64, address: String, since: Duration) -> Self {
        let (connections, failures, seen) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::default());
        Self { id, address, since, connections, failures, seen }
    }

    /// A number that no other host of the cluster ever had.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// `10.1.2.3:15443`
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    pub(super) fn status(
        &self,
        cluster: &ClusterName,
        health: EndpointHealth,
        now: Duration,
    ) -> EndpointStatus {
        let seen = self.seen();
        let failures = self.failures.load(Ordering::Relaxed);
        EndpointStatus {
            cluster: cluster.to_string(),
            endpoint: self.address.clone(),
            health,
            connections: self.connections.load(Ordering::Relaxed),
            failures,
            last_failure: seen.last.filter(|_| failures > 0),
            deferred_for: seen.deferred_until.saturating_sub(now),
            ejected_for: seen.ejected_until.saturating_sub(now),
            ejections: seen.record.ejections,
        }
    }
}
