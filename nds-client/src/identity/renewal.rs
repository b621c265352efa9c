//! When to renew.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;

/// How long to wait before renewing a certificate that was just received and is valid for `remaining`: until the share
/// `grace` of it is left, less up to a hundredth as `random` (0 to 1) says, so that a fleet does not come at once.
///
/// Counted from receipt: istiod dates certificates two minutes back, so that the middle between the dates of a
/// certificate of a few minutes may already have passed (istio `security/pkg/nodeagent/cache/secretcache.go`).
pub(crate) fn renewal_delay(remaining: Duration, grace: f64, random: f64) -> Duration {
    let jitter = remaining.mul_f64(0.01 * random.clamp(0.0, 1.0));
    remaining.mul_f64(1.0 - grace).saturating_sub(jitter).max(Duration::from_secs(1))
}

/// The same for a certificate of this `lifetime` that was received before this process started.
pub(crate) fn restored_delay(lifetime: Duration, remaining: Duration, grace: f64) -> Duration {
    remaining.saturating_sub(lifetime.mul_f64(grace))
}

/// How often the wall clock is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Waits for `delay`, by the monotonic clock or by the wall clock: the monotonic one stands still while a VM sleeps. Calls
/// `look` each time it looks at the clock.
pub(crate) async fn due(clock: &Clock, delay: Duration, look: impl Fn()) {
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

    #[test]
    fn a_certificate_is_renewed_at_half_of_its_life_less_a_little() {
        assert_eq!(renewal_delay(DAY, 0.5, 0.0), DAY / 2);
        assert_eq!(renewal_delay(DAY, 0.5, 1.0), DAY.mul_f64(0.49));
        assert_eq!(renewal_delay(DAY, 0.25, 0.0), DAY * 3 / 4);
        assert_eq!(renewal_delay(Duration::ZERO, 0.5, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn a_restored_certificate_is_renewed_when_it_would_have_been() {
        assert_eq!(restored_delay(DAY, DAY * 3 / 4, 0.5), DAY / 4);
        assert_eq!(restored_delay(DAY, DAY / 3, 0.5), Duration::ZERO);
    }

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
