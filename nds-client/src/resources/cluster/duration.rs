//! Durations in xDS messages.

use std::time::Duration;

use xds_proto::google::protobuf::Duration as Wire;

/// The longest duration that the protobuf type may contain: about 10,000 years (protobuf
/// `google/protobuf/duration.proto`). A longer one would overflow when it is added to a time.
const MAXIMUM: Duration = Duration::from_secs(315_576_000_000);

/// Converts a duration. Returns `None` if it is missing or negative. A duration beyond the range of the protobuf type
/// becomes the longest one.
pub(super) fn duration(wire: Option<&Wire>) -> Option<Duration> {
    let wire = wire?;
    let (seconds, nanos) = (u64::try_from(wire.seconds).ok()?, u32::try_from(wire.nanos).ok()?);
    let duration = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    Some(duration.min(MAXIMUM))
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    #[test]
    fn a_duration_can_be_added_to_the_current_time() {
        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MAX, 0), (315_576_000_000, 999_999_999)] {
            let duration = duration(Some(&Wire { seconds, nanos })).unwrap();
            assert!(Instant::now().checked_add(duration).is_some(), "{duration:?}");
            assert!(SystemTime::now().checked_add(duration).is_some(), "{duration:?}");
        }
        assert_eq!(duration(Some(&Wire { seconds: -1, nanos: 0 })), None);
        assert_eq!(duration(Some(&Wire { seconds: 0, nanos: -1 })), None);
        assert_eq!(duration(Some(&Wire { seconds: 1, nanos: 5 })), Some(Duration::new(1, 5)));
    }
}
