//! Time limits of a stream: stalled streams end, and old streams are replaced.

use std::time::Duration;

use tokio::time::Instant;

/// The time within which istiod must answer a subscription.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The age at which this client replaces a stream. By default istiod ends streams after half an hour (istio
/// `pkg/keepalive/options.go`). This limit replaces a stream whose server no longer pushes.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// The interval at which unused endpoints are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The time limits of one stream, as a value.
#[derive(Debug)]
pub(super) struct Watchdog {
    end: Instant,
    sweep: Instant,
    /// The time at which the stream started to wait for a response; `None` if it does not wait.
    waiting_since: Option<Instant>,
    timeout: Duration,
}

/// An action that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// End the stalled stream.
    GiveUp,
    /// Replace the old stream.
    Renew,
    /// Drop unused endpoints.
    Sweep,
}

impl Watchdog {
    /// Creates the limits of a stream that starts `now`. The timeout increases with the number of consecutive stalled
    /// streams (`stalled`), because istiod may never answer some request. `random` (0 to 1) varies the maximum age.
    pub(super) fn new(now: Instant, stalled: u32, random: f64) -> Self {
        Self {
            end: now + MAX_AGE.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0)),
            sweep: now + SWEEP_INTERVAL,
            waiting_since: Some(now),
            timeout: RESPONSE_TIMEOUT.saturating_mul(1 << stalled.min(6)),
        }
    }

    /// Records whether the stream waits for a response of istiod.
    pub(super) fn set_awaiting(&mut self, awaits: bool, now: Instant) {
        self.waiting_since = awaits.then(|| self.waiting_since.unwrap_or(now));
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the time at which [`due`](Self::due) must be called next.
    pub(super) fn next(&self) -> Instant {
        let give_up = self.waiting_since.map(|since| since + self.timeout);
        give_up.into_iter().fold(self.end.min(self.sweep), Instant::min)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.waiting_since.is_some_and(|since| since + self.timeout <= now) {
            Some(Due::GiveUp)
        } else if self.end <= now {
            Some(Due::Renew)
        } else if self.sweep <= now {
            self.sweep = now + SWEEP_INTERVAL;
            Some(Due::Sweep)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_responses_is_replaced_after_about_an_hour() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 0, 0.5);
        watchdog.set_awaiting(false, start);
        assert_eq!(watchdog.next(), start + SWEEP_INTERVAL);
        assert_eq!(watchdog.due(start + SWEEP_INTERVAL), Some(Due::Sweep));
        assert_eq!(watchdog.due(start + SWEEP_INTERVAL), None);
        assert_eq!(watchdog.due(start + MAX_AGE), Some(Due::Renew));
    }

    #[test]
    fn a_request_without_a_response_ends_the_stream() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 0, 0.5);
        assert_eq!(watchdog.due(start + RESPONSE_TIMEOUT), Some(Due::GiveUp), "no response was received");
        watchdog.set_awaiting(false, start);
        let requested = start + RESPONSE_TIMEOUT / 2;
        watchdog.set_awaiting(true, requested);
        watchdog.set_awaiting(true, requested + RESPONSE_TIMEOUT / 2);
        assert_eq!(
            watchdog.next(),
            requested + RESPONSE_TIMEOUT,
            "counted from the first unanswered request"
        );
        assert_eq!(watchdog.due(start + RESPONSE_TIMEOUT), None);
    }

    #[test]
    fn the_timeout_increases_with_repeated_stalls() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 2, 0.5);
        assert_eq!(watchdog.due(start + RESPONSE_TIMEOUT * 3), Some(Due::Sweep));
        assert_eq!(watchdog.due(start + RESPONSE_TIMEOUT * 4), Some(Due::GiveUp));
        assert!(Watchdog::new(start, u32::MAX, 0.5).timeout() < MAX_AGE);
    }
}
