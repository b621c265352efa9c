//! Limits of the lifetime of a connection.

use std::time::Duration;

use nds_client::resources::cluster::ConnectionLimits as ConnectionLife;
use tokio::time::Instant;

/// The idle timeout for clusters that do not set one.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The limits of the connections of a cluster. `None` means no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_duration: Option<Duration>,
    pub(super) max_requests: Option<u32>,
}

/// The usage of a connection so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    since: Instant,
    last_used: Instant,
    requests: u32,
    streams: u32,
}

impl From<ConnectionLife> for Limits {
    fn from(life: ConnectionLife) -> Self {
        let ConnectionLife { idle_timeout, max_duration, max_requests, .. } = life;
        let idle_timeout = match idle_timeout {
            Some(Duration::ZERO) => None,
            timeout => Some(timeout.unwrap_or(DEFAULT_IDLE_TIMEOUT)),
        };
        Self { idle_timeout, max_duration, max_requests }
    }
}

impl Usage {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, last_used: now, requests: 0, streams: 0 }
    }

    /// Returns the number of requests whose responses have not ended.
    pub(super) fn streams(&self) -> u32 {
        self.streams
    }

    pub(super) fn begin(&mut self) {
        self.requests = self.requests.saturating_add(1);
        self.streams += 1;
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.streams = self.streams.saturating_sub(1);
        self.last_used = now;
    }

    pub(super) fn has_served_all(&self, limits: &Limits) -> bool {
        limits.max_requests.is_some_and(|most| self.requests >= most)
    }

    /// Returns the time from which the connection must not start another request, because of its maximum age or, if it
    /// is idle, the idle timeout. `None` without a limit.
    fn until(&self, limits: &Limits) -> Option<Instant> {
        let aged = self.aged(limits);
        let idle = limits.idle_timeout.filter(|_| self.streams == 0);
        aged.into_iter().chain(idle.and_then(|idle| self.last_used.checked_add(idle))).min()
    }

    pub(super) fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        self.until(limits).is_some_and(|until| until <= now)
    }

    /// Returns the time at which to check again whether the lifetime is over. For an idle connection, this is the end
    /// of its lifetime. For a busy connection, this is its maximum age or the earliest possible idle timeout. `None`
    /// without a limit.
    pub(super) fn next_check(&self, limits: &Limits, now: Instant) -> Option<Instant> {
        match self.streams {
            0 => self.until(limits),
            _ => {
                let idle = limits.idle_timeout.and_then(|idle| now.checked_add(idle));
                self.aged(limits).into_iter().chain(idle).min()
            }
        }
    }

    fn aged(&self, limits: &Limits) -> Option<Instant> {
        limits.max_duration.and_then(|most| self.since.checked_add(most))
    }
}
