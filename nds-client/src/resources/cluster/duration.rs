//! Durations in messages.

use std::time::Duration;

use xds_proto::google::protobuf::Duration as Wire;

/// Converts a duration. A negative one counts as absent.
pub(super) fn duration(wire: Option<&Wire>) -> Option<Duration> {
    let wire = wire?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, u32::try_from(wire.nanos).ok()?))
}
