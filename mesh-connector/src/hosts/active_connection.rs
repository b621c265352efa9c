//! Connections to endpoints, their counts and their events.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    host::{Host, HostState},
    outlier::{Event, failures_to_eject},
    set::HostSet,
};
use crate::error::ErrorKind;

const FIRST_DEFERRAL: Duration = Duration::from_secs(1);
const MAX_DEFERRAL: Duration = Duration::from_secs(30);
/// The time after which a failure is forgotten, so that the next failure counts as the first.
const FAILURE_MEMORY: Duration = Duration::from_secs(60);

/// Counts a connection to an endpoint until this value is dropped, and records the events of the connection.
pub(crate) struct ActiveConnection {
    set: Arc<HostSet>,
    host: Arc<Host>,
}

impl ActiveConnection {
    /// Counts a connection to the endpoint with this index.
    pub(crate) fn new(set: &Arc<HostSet>, index: usize) -> Self {
        let host = set.hosts[index].clone();
        host.connections.fetch_add(1, Ordering::Relaxed);
        set.stats.connections.fetch_add(1, Ordering::Relaxed);
        Self { set: set.clone(), host }
    }

    pub(crate) fn address(&self) -> &str {
        self.host.address()
    }

    /// Records that the connection was established.
    pub(crate) fn connected(&self) {
        if self.host.failures.load(Ordering::Relaxed) > 0 {
            self.host.failures.store(0, Ordering::Relaxed);
            self.record(Event::Connected, None);
        }
    }

    /// Records that the connection failed, or that the peer rejected it before its first byte.
    pub(crate) fn failed(&self, kind: ErrorKind) {
        self.host.failures.fetch_add(1, Ordering::Relaxed);
        self.record(Event::Failed, Some(kind));
    }

    /// Returns whether HTTP statuses of responses must be recorded. Only outlier detection uses them.
    pub(crate) fn uses_statuses(&self) -> bool {
        self.set.outlier_detection().is_some()
    }

    /// Records the HTTP status of a response on this connection.
    pub(crate) fn answered(&self, status: u16) {
        if self.uses_statuses() {
            self.record(Event::Status(status), None);
        }
    }

    fn record(&self, event: Event, kind: Option<ErrorKind>) {
        let (set, now) = (&self.set, self.set.stats.now());
        let rules = set.outlier_detection();
        let mut state = self.host.lock();
        let before = *state;
        match event {
            Event::Connected => state.deferred_until = Duration::ZERO,
            Event::Status(_) => {}
            Event::Failed => {
                if before.last.is_some() && before.failed_at + FAILURE_MEMORY < now {
                    self.host.failures.store(1, Ordering::Relaxed);
                }
                (state.last, state.failed_at) = (kind, now);
                // Move the endpoint to the end of the order only if outlier detection does not count connection
                // failures.
                if rules.and_then(failures_to_eject).is_none() {
                    self.defer(&mut state, now);
                }
            }
        }
        if let Some(rules) = rules
            && let Some(chance) = state.record.count(event, rules, now)
            && fastrand::u32(..100) < chance
        {
            // `eject` locks all endpoints, so this lock must be released first.
            drop(state);
            if !set.eject(&self.host, rules, now) {
                // The maximum share of endpoints is ejected: move the endpoint to the end of the order instead.
                self.defer(&mut self.host.lock(), now);
            }
        } else if state.deferred_until == before.deferred_until {
            return;
        }
        set.stats.version.fetch_add(1, Ordering::Release);
    }

    /// Moves the endpoint to the end of the order, for a longer time with each consecutive failure.
    fn defer(&self, state: &mut HostState, now: Duration) {
        state.deferred_until = now + deferral(self.host.failures.load(Ordering::Relaxed));
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.host.connections.fetch_sub(1, Ordering::Relaxed);
        self.set.stats.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the time for which an endpoint stays at the end of the order after this number of failures.
fn deferral(failures: u32) -> Duration {
    FIRST_DEFERRAL.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(MAX_DEFERRAL)
}

impl fmt::Debug for ActiveConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveConnection").field("host", &self.host.address()).finish_non_exhaustive()
    }
}
