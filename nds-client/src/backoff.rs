//! Delays between connection attempts.

use std::time::Duration;

/// Capped exponential backoff with full jitter. The jitter spreads the reconnects of clients that lost the same server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(15);

impl Backoff {
    /// Returns the next delay: `random` (0 to 1) times a limit that starts at `BASE`, doubles with each failure and
    /// never exceeds `CAP`.
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
        fn a_delay_never_exceeds_the_cap(failures: u32, random: f64) {
            let mut backoff = Backoff { failures };
            prop_assert!(backoff.next(random) <= CAP);
            prop_assert!(backoff.failures >= failures);
        }
    }

    #[test]
    fn delays_double_until_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(1.0)).collect();
        assert_eq!(&waits[..3], [BASE, BASE * 2, BASE * 4]);
        assert_eq!(waits[9], CAP);
    }
}
