//! Durations in xDS messages.

use std::time::Duration;

use xds_proto::google::protobuf::Duration as Wire;

/// Converts a duration. Returns `None` if it is missing or negative.
pub(super) fn duration(wire: Option<&Wire>) -> Option<Duration> {
    let wire = wire?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, u32::try_from(wire.nanos).ok()?))
}
