//! Durations of the wire.

use std::time::Duration;

use xds_proto::google::protobuf::Duration as Wire;

/// A negative time counts as absent.
pub(super) fn duration(wire: Option<&Wire>) -> Option<Duration> {
    let wire = wire?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, u32::try_from(wire.nanos).ok()?))
}
