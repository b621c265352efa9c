//! How long a connection serves requests.

use std::time::Duration;

use nds_client::resources::cluster::ConnectionLimits as ConnectionLife;
use tokio::time::Instant;

/// The idle timeout of clusters without one.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The limits of a cluster's connections; `None` for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_duration: Option<Duration>,
    pub(super) max_requests: Option<u32>,
}

/// The use of one connection so far.
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

    /// Requests whose responses have not ended.
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

    /// The time at which the connection must not begin another request: by its age, and without a request on it by its
    /// idle time.
    fn until(&self, limits: &Limits) -> Option<Instant> {
        let aged = self.aged(limits);
        let idle = limits.idle_timeout.filter(|_| self.streams == 0);
        aged.into_iter().chain(idle.and_then(|idle| self.last_used.checked_add(idle))).min()
    }

    pub(super) fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        self.until(limits).is_some_and(|until| until <= now)
    }

    /// The time of the next look at a connection: its end, or, while it is busy, the earliest end by its idle time.
    pub(super) fn look_again(&self, limits: &Limits, now: Instant) -> Option<Instant> {
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
