//! Limits repeated warnings: one log line per cause and interval, with the number of occurrences.
//!
//! Other processes can cause some warnings as often as they like, for instance by connecting. Without a limit, they
//! could fill the disk with log lines.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The maximum number of causes that are logged per interval. Occurrences of further causes are not logged, because the
/// program already logs that many warnings.
const MAX_CAUSES: usize = 64;

/// Decides which occurrences of a warning are logged. Each cause `C` has its own limit.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use sidestep_util::warn_limit::WarnLimit;
///
/// let rejected: WarnLimit<u32> = WarnLimit::per_minute();
/// let (uid, now) = (1001, Instant::now());
/// // The first occurrence is logged, the next one is only counted.
/// assert_eq!(rejected.occurred(uid, now), Some(1));
/// assert_eq!(rejected.occurred(uid, now), None);
/// // After a minute, the next occurrence is logged with the number of occurrences since the last log line.
/// assert_eq!(rejected.occurred(uid, now + Duration::from_secs(60)), Some(2));
/// ```
#[derive(Debug)]
pub struct WarnLimit<C> {
    interval: Duration,
    causes: Mutex<HashMap<C, Cause>>,
}

#[derive(Debug)]
struct Cause {
    logged: Instant,
    /// The number of occurrences since the last log line.
    skipped: u64,
}

impl<C: Eq + Hash> WarnLimit<C> {
    /// Creates a limit of one log line per cause and minute.
    pub fn per_minute() -> Self {
        Self::new(Duration::from_secs(60))
    }

    /// Creates a limit of one log line per cause and `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, causes: Mutex::default() }
    }

    /// Counts an occurrence at the time `now`. If the caller must write a log line, returns the number of occurrences
    /// since the last log line, including this one; otherwise returns `None`.
    pub fn occurred(&self, cause: C, now: Instant) -> Option<u64> {
        let mut causes = self.causes.lock();
        let is_over = |logged: Instant| now.saturating_duration_since(logged) >= self.interval;
        if let Some(known) = causes.get_mut(&cause) {
            known.skipped += 1;
            if !is_over(known.logged) {
                return None;
            }
            known.logged = now;
            return Some(std::mem::take(&mut known.skipped));
        }
        if causes.len() >= MAX_CAUSES {
            causes.retain(|_, known| !is_over(known.logged));
            if causes.len() >= MAX_CAUSES {
                return None;
            }
        }
        causes.insert(cause, Cause { logged: now, skipped: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_cause_is_logged_once_per_interval_with_the_number_of_its_occurrences() {
        let (limit, start) = (WarnLimit::per_minute(), Instant::now());
        assert_eq!(limit.occurred("port 80", start), Some(1));
        for second in 1..60 {
            assert_eq!(limit.occurred("port 80", start + Duration::from_secs(second)), None);
        }
        assert_eq!(limit.occurred("port 81", start), Some(1), "another cause has its own limit");
        assert_eq!(limit.occurred("port 80", start + MINUTE), Some(60));
        assert_eq!(limit.occurred("port 80", start + MINUTE), None);
        assert_eq!(limit.occurred("port 80", start + 2 * MINUTE), Some(2));
    }

    #[test]
    fn the_first_occurrence_is_logged_and_later_ones_once_per_minute_with_their_number() {
        let (limit, start) = (WarnLimit::per_minute(), Instant::now());
        let at = |seconds| limit.occurred((), start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 1, 59].map(at), [Some(1), None, None, None]);
        assert_eq!([60, 61, 119, 120].map(at), [Some(4), None, None, Some(3)]);
    }

    #[test]
    fn many_causes_are_logged_and_stored_up_to_a_limit() {
        let (limit, start) = (WarnLimit::per_minute(), Instant::now());
        let logged =
            |from: usize, now| (from..from + 1000).filter_map(|cause| limit.occurred(cause, now)).count();
        assert_eq!(logged(0, start), MAX_CAUSES);
        assert_eq!(logged(1000, start), 0);
        assert_eq!(logged(2000, start + MINUTE), MAX_CAUSES, "causes of the last interval make room");
        assert_eq!(limit.causes.lock().len(), MAX_CAUSES);
    }
}
