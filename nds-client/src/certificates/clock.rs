//! What a fresh certificate tells about this host's clock.

use std::time::{Duration, SystemTime};

use crate::{
    duration::Rough,
    error::{Error, ErrorKind},
};

/// Why the clock cannot be right, by the begin of a certificate that was issued this very moment. istiod dates
/// certificates two minutes back; other CAs do not.
pub(super) fn clock_error(not_before: SystemTime, now: SystemTime) -> Option<Error> {
    const TOLERANCE: Duration = Duration::from_secs(7 * 60);
    let message = match (not_before.duration_since(now), now.duration_since(not_before)) {
        (Ok(ahead), _) if !ahead.is_zero() => {
            format!(
                "this host's clock is slow: a certificate that was just issued begins {} from now; set the clock",
                Rough(ahead)
            )
        }
        (_, Ok(age)) if age > TOLERANCE => {
            format!(
                "this host's clock is fast: a certificate that was just issued is dated {} back; set the clock",
                Rough(age)
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
    fn a_certificate_dated_a_little_back_says_nothing_about_the_clock() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let minute = Duration::from_secs(60);
        assert!(clock_error(now - 2 * minute, now).is_none());
        assert!(clock_error(now, now).is_none());
        assert!(clock_error(now + minute, now).unwrap().to_string().contains("slow"));
        assert!(clock_error(now - 8 * minute, now).unwrap().to_string().contains("fast"));
    }
}
