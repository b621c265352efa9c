//! When to renew.

use std::time::Duration;

/// How long to wait before renewing a certificate that was just received and is valid for `remaining`: half of it,
/// less up to a hundredth as `random` (0 to 1) says, so that a fleet does not come at once.
///
/// Counted from receipt: istiod dates certificates two minutes back, so that the middle between the dates of a
/// certificate of a few minutes may already have passed (istio `security/pkg/nodeagent/cache/secretcache.go`).
pub(crate) fn renewal_delay(remaining: Duration, random: f64) -> Duration {
    let jitter = remaining.mul_f64(0.01 * random.clamp(0.0, 1.0));
    (remaining / 2).saturating_sub(jitter).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_half_of_its_life_less_a_little() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(renewal_delay(day, 0.0), day / 2);
        assert_eq!(renewal_delay(day, 1.0), day.mul_f64(0.49));
        assert_eq!(renewal_delay(Duration::ZERO, 0.5), Duration::from_secs(1));
    }
}
