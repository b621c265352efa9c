//! How long to wait before the next try.

use std::time::Duration;

/// Capped exponential backoff with full jitter: many clients that lost the same server do not come back together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(15);

impl Backoff {
    /// The next wait: up to `BASE` doubled with each failure, at most `CAP`, as `random` (0 to 1) says. Never
    /// panics, however long an outage lasts.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let most = BASE.saturating_mul(1 << self.failures.min(20)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        most.mul_f64(random.clamp(0.0, 1.0))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_never_exceeds_the_cap(failures: u32, random: f64) {
            let mut backoff = Backoff { failures };
            prop_assert!(backoff.next(random) <= CAP);
            prop_assert!(backoff.failures >= failures);
        }
    }

    #[test]
    fn waits_double_until_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(1.0)).collect();
        assert_eq!(&waits[..3], [BASE, BASE * 2, BASE * 4]);
        assert_eq!(waits[9], CAP);
    }
}
