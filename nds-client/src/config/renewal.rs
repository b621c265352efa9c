//! The time of certificate renewals.

use std::time::Duration;

/// The fraction of a certificate's lifetime that remains at its renewal: `grace` plus a random part of `jitter`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    /// The minimum fraction of the lifetime that remains at the renewal.
    pub(crate) grace: f64,
    /// The maximum of a random fraction added to `grace`, which spreads the renewals of a fleet. Istio's agent adds or
    /// subtracts its jitter (istio `security/pkg/nodeagent/cache/secretcache.go`, `rotateTime`); with a small `grace`,
    /// a subtraction may delay the renewal too long.
    pub(crate) jitter: f64,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { grace: 0.5, jitter: 0.01 }
    }
}

impl Renewal {
    /// Returns the delay before the renewal of a certificate that was just received and is valid for `remaining`.
    /// `random` is between 0 and 1.
    ///
    /// The delay is a fraction of `remaining`, not of the whole lifetime: a certificate of istiod becomes valid two
    /// minutes before its issuance, so half of a very short lifetime may already have passed at the receipt.
    pub(crate) fn delay(&self, remaining: Duration, random: f64) -> Duration {
        let left = self.grace + self.jitter * random.clamp(0.0, 1.0);
        remaining.mul_f64((1.0 - left).max(0.0)).max(Duration::from_secs(1))
    }

    /// Returns the delay before the renewal of a certificate from the state directory, which has this `lifetime` and
    /// expires after `remaining`.
    pub(crate) fn restored_delay(&self, lifetime: Duration, remaining: Duration) -> Duration {
        remaining.saturating_sub(lifetime.mul_f64(self.grace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_is_renewed_shortly_before_half_of_its_lifetime() {
        let half = Renewal::default();
        assert_eq!(half.delay(DAY, 0.0), DAY / 2);
        assert_eq!(half.delay(DAY, 1.0), DAY.mul_f64(0.49));
        assert_eq!(half.delay(Duration::ZERO, 0.5), Duration::from_secs(1));
        let late = Renewal { grace: 0.25, jitter: 0.25 };
        assert_eq!([0.0, 1.0].map(|random| late.delay(DAY, random)), [DAY * 3 / 4, DAY / 2]);
        let early = Renewal { grace: 0.9, jitter: 0.9 };
        assert_eq!(early.delay(DAY, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn a_restored_certificate_is_renewed_at_the_time_determined_by_its_lifetime() {
        let half = Renewal::default();
        assert_eq!(half.restored_delay(DAY, DAY * 3 / 4), DAY / 4);
        assert_eq!(half.restored_delay(DAY, DAY / 3), Duration::ZERO);
    }
}
