//! Limits how often a repeated event is logged.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The minimum time between two log lines of one cause.
const PAUSE: Duration = Duration::from_secs(60);

/// Counts the occurrences of one cause, and decides which of them are logged: the first one, and later ones at most
/// once per minute. Clients that cause an event can therefore not fill the log.
#[derive(Debug, Default)]
pub struct Repeated(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged: Option<Instant>,
    /// The number of occurrences since the last log line.
    since: u64,
}

impl Repeated {
    /// Creates a counter without occurrences.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { logged: None, since: 0 }))
    }

    /// Counts an occurrence at the time `now`. If the caller must write a log line, returns the number of occurrences
    /// since the last log line, including this one; otherwise returns `None`.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        state.since = state.since.saturating_add(1);
        if state.logged.is_some_and(|logged| now.saturating_duration_since(logged) < PAUSE) {
            return None;
        }
        state.logged = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_logged_and_later_ones_once_per_minute_with_their_number() {
        let (repeated, start) = (Repeated::new(), Instant::now());
        let at = |seconds| repeated.count(start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 1, 59].map(at), [Some(1), None, None, None]);
        assert_eq!([60, 61, 119, 120].map(at), [Some(4), None, None, Some(3)]);
    }
}
