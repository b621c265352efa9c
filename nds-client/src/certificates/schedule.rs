//! Waiting for a date.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;

/// How often the wall clock is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Waits for `delay`, by the monotonic clock or by the wall clock: the monotonic one stands still while a VM sleeps. Calls
/// `look` each time it looks at the clock.
pub(super) async fn due(clock: &Clock, delay: Duration, look: impl Fn()) {
    let (end, date) = (Instant::now() + delay, clock.now() + delay);
    while Instant::now() < end && clock.now() < date {
        look();
        sleep(LOOK.min(end - Instant::now())).await;
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
    async fn a_vm_that_slept_renews_by_the_date() {
        let slept = Arc::new(AtomicU64::new(0));
        let clock = Clock::of({
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
            () = sleep(LOOK / 2) => slept.store(DAY.as_secs(), Ordering::Relaxed),
        }
        waiting.await;
        assert_eq!(start.elapsed(), LOOK);
    }
}
