//! What a stream must not do: stay silent, or live for ever.

use std::time::Duration;

use tokio::time::Instant;

/// How long istiod may take to answer a subscription. It sends a mesh of 10 000 services within a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// istiod ends streams after half an hour, unless it is told not to (istio `pkg/keepalive/options.go`); then we do, so
/// that one that has stopped to push is not listened to for ever.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How often endpoints are looked at that nobody asks for.
const SWEEP: Duration = Duration::from_secs(60);

/// The time limits of one stream. A value: it is told what happens and when.
#[derive(Debug)]
pub(super) struct Watchdog {
    end: Instant,
    sweep: Instant,
    /// Since when something has been awaited.
    awaited: Option<Instant>,
    patience: Duration,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// The stream is as good as dead.
    GiveUp,
    /// The stream has lived long enough.
    Renew,
    /// Drop what nobody asks for.
    Sweep,
}

impl Watchdog {
    /// For a stream that begins `now`. After `stalled` silent ones in a row the patience is longer: some question may be
    /// one that istiod does not answer.
    pub(super) fn new(now: Instant, stalled: u32, random: f64) -> Self {
        Self {
            end: now + LIFETIME.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0)),
            sweep: now + SWEEP,
            awaited: Some(now),
            patience: PATIENCE.saturating_mul(1 << stalled.min(6)),
        }
    }

    /// Whether an answer is awaited, after whatever was said or heard.
    pub(super) fn awaits(&mut self, awaits: bool, now: Instant) {
        self.awaited = awaits.then(|| self.awaited.unwrap_or(now));
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// When to ask next.
    pub(super) fn next(&self) -> Instant {
        let give_up = self.awaited.map(|since| since + self.patience);
        give_up.into_iter().fold(self.end.min(self.sweep), Instant::min)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.awaited.is_some_and(|since| since + self.patience <= now) {
            Some(Due::GiveUp)
        } else if self.end <= now {
            Some(Due::Renew)
        } else if self.sweep <= now {
            self.sweep = now + SWEEP;
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
    fn a_stream_that_answers_is_renewed_after_an_hour_or_so() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 0, 0.5);
        watchdog.awaits(false, start);
        assert_eq!(watchdog.next(), start + SWEEP);
        assert_eq!(watchdog.due(start + SWEEP), Some(Due::Sweep));
        assert_eq!(watchdog.due(start + SWEEP), None);
        assert_eq!(watchdog.due(start + LIFETIME), Some(Due::Renew));
    }

    #[test]
    fn a_question_without_an_answer_ends_the_stream_and_one_with_an_answer_does_not() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 0, 0.5);
        assert_eq!(watchdog.due(start + PATIENCE), Some(Due::GiveUp), "nothing was ever heard");
        watchdog.awaits(false, start);
        let asked = start + PATIENCE / 2;
        watchdog.awaits(true, asked);
        watchdog.awaits(true, asked + PATIENCE / 2);
        assert_eq!(watchdog.next(), asked + PATIENCE, "counted from the first question");
        assert_eq!(watchdog.due(start + PATIENCE), None);
    }

    #[test]
    fn patience_grows_where_silence_repeats() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start, 2, 0.5);
        assert_eq!(watchdog.due(start + PATIENCE * 3), Some(Due::Sweep));
        assert_eq!(watchdog.due(start + PATIENCE * 4), Some(Due::GiveUp));
        assert!(Watchdog::new(start, u32::MAX, 0.5).patience() < LIFETIME);
    }
}
