//! Detection of a wrong clock from the dates of a new certificate.

use std::time::{Duration, SystemTime};

use crate::{
    duration::HumanDuration,
    error::{Error, ErrorKind},
};

/// Returns an error if the dates of a certificate that was issued just now prove that the host's clock is wrong; `None`
/// if they do not. A certificate of istiod becomes valid two minutes before its issuance, one of another CA at its
/// issuance.
pub(super) fn clock_error(not_before: SystemTime, now: SystemTime) -> Option<Error> {
    const TOLERANCE: Duration = Duration::from_secs(7 * 60);
    let message = match (not_before.duration_since(now), now.duration_since(not_before)) {
        (Ok(ahead), _) if !ahead.is_zero() => {
            format!(
                "the clock of this host is slow: a new certificate becomes valid {} from now; set the clock",
                HumanDuration(ahead)
            )
        }
        (_, Ok(age)) if age > TOLERANCE => {
            format!(
                "the clock of this host is fast: a new certificate became valid {} ago; set the clock",
                HumanDuration(age)
            )
        }
        _ => return None,
    };
    Some(Error::new(ErrorKind::Clock, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_dated_back_within_the_tolerance_proves_no_clock_error() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let minute = Duration::from_secs(60);
        assert!(clock_error(now - 2 * minute, now).is_none());
        assert!(clock_error(now, now).is_none());
        assert!(clock_error(now + minute, now).unwrap().to_string().contains("slow"));
        assert!(clock_error(now - 8 * minute, now).unwrap().to_string().contains("fast"));
    }
}
