//! A connection to an endpoint: it is counted, and what happens to it counts towards outlier detection.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    host::{Host, Seen},
    outlier::{Event, failures_to_eject},
    set::HostSet,
};
use crate::error::ErrorKind;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A failure that is so long ago is forgotten, and the next one is the first again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A connection of a host's, counted until it is dropped; and the way to tell what becomes of it.
pub(crate) struct Held {
    set: Arc<HostSet>,
    host: Arc<Host>,
}

impl Held {
    /// Counts a connection to the endpoint at this place of the set.
    pub(crate) fn new(set: &Arc<HostSet>, index: usize) -> Self {
        let host = set.hosts[index].clone();
        host.connections.fetch_add(1, Ordering::Relaxed);
        set.stats.connections.fetch_add(1, Ordering::Relaxed);
        Self { set: set.clone(), host }
    }

    pub(crate) fn address(&self) -> &str {
        self.host.address()
    }

    /// The connection came about.
    pub(crate) fn connected(&self) {
        if self.host.failures.load(Ordering::Relaxed) > 0 {
            self.host.failures.store(0, Ordering::Relaxed);
            self.note(Event::Connected, None);
        }
    }

    /// It did not, or the peer took it back before its first byte.
    pub(crate) fn failed(&self, kind: ErrorKind) {
        self.host.failures.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Failed, Some(kind));
    }

    /// A request over it was answered.
    pub(crate) fn answered(&self, status: u16) {
        // Statuses matter to outlier detection alone, and good ones only after bad ones.
        if self.set.outlier_detection().is_some() {
            self.note(Event::Status(status), None);
        }
    }

    fn note(&self, event: Event, kind: Option<ErrorKind>) {
        let (set, now) = (&self.set, self.set.stats.now());
        let rules = set.outlier_detection();
        let mut seen = self.host.lock();
        let before = *seen;
        match event {
            Event::Connected => seen.deferred_until = Duration::ZERO,
            Event::Status(_) => {}
            Event::Failed => {
                if before.last.is_some() && before.failed_at + FORGOTTEN < now {
                    self.host.failures.store(1, Ordering::Relaxed);
                }
                (seen.last, seen.failed_at) = (kind, now);
                // Where a rule counts failures, they are its to judge.
                if rules.and_then(failures_to_eject).is_none() {
                    self.defer(&mut seen, now);
                }
            }
        }
        if let Some(rules) = rules
            && let Some(chance) = seen.record.note(event, rules, now)
            && fastrand::u32(..100) < chance
        {
            // The others are looked at meanwhile.
            drop(seen);
            if !set.eject(&self.host, rules, now) {
                // As many are out as may be: it is put last, at least.
                self.defer(&mut self.host.lock(), now);
            }
        } else if seen.deferred_until == before.deferred_until {
            return;
        }
        set.stats.version.fetch_add(1, Ordering::Release);
    }

    /// Puts the endpoint behind the others, for longer with each failure in a row.
    fn defer(&self, seen: &mut Seen, now: Duration) {
        seen.deferred_until = now + patience(self.host.failures.load(Ordering::Relaxed));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.host.connections.fetch_sub(1, Ordering::Relaxed);
        self.set.stats.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long an endpoint goes behind the others after so many failures.
fn patience(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("host", &self.host.address()).finish_non_exhaustive()
    }
}
