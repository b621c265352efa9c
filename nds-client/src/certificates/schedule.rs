//! A wait that is not prolonged by the suspension of a VM.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;

/// The interval at which the wall clock is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The longest wait. It prevents an overflow for a certificate that is valid for thousands of years.
const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Waits until `delay`, at most [`MAX_DELAY`], has passed on the monotonic clock or on the wall clock. Both are read,
/// because the monotonic clock stops while a VM is suspended. Calls `check` each time before it sleeps.
pub(super) async fn due(clock: &Clock, delay: Duration, check: impl Fn()) {
    let delay = delay.min(MAX_DELAY);
    let (begin, date) = (Instant::now(), clock.now().checked_add(delay));
    // If the date is beyond the range of the clock, only the monotonic clock ends the wait.
    while date.is_none_or(|date| clock.now() < date) {
        let left = delay.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return;
        }
        check();
        sleep(CHECK_INTERVAL.min(left)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::SystemTime,
    };

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test(start_paused = true)]
    async fn a_delay_beyond_the_range_of_the_clocks_is_a_long_delay() {
        let far = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64 - 1)).unwrap();
        for now in [SystemTime::now(), far] {
            let waited = tokio::time::timeout(DAY, due(&Clock::new(move || now), Duration::MAX, || {})).await;
            assert!(waited.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_vm_renews_by_the_wall_clock() {
        let slept = Arc::new(AtomicU64::new(0));
        let clock = Clock::new({
            let slept = slept.clone();
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(slept.load(Ordering::Relaxed))
        });
        let start = Instant::now();
        due(&clock, DAY, || {}).await;
        assert_eq!(start.elapsed(), DAY);
        let start = Instant::now();
        let mut waiting = std::pin::pin!(due(&clock, DAY, || {}));
        tokio::select! {
            () = &mut waiting => panic!("too early"),
            () = sleep(CHECK_INTERVAL / 2) => slept.store(DAY.as_secs(), Ordering::Relaxed),
        }
        waiting.await;
        assert_eq!(start.elapsed(), CHECK_INTERVAL);
    }
}
