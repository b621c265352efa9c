//! When an endpoint that fails is left alone for a while.

use std::time::Duration;

use xds_proto::{envoy::config::cluster::v3::OutlierDetection as Wire, google::protobuf::UInt32Value};

use super::duration::duration;

/// When an endpoint that fails is left alone for a while, and for how long. Where the control plane says nothing, Envoy's
/// defaults stand here (Envoy `api/envoy/config/cluster/v3/outlier_detection.proto`).
///
/// A count is in failures in a row; an `enforcing_` value is the chance, in percent, that one that reached its count is
/// left alone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// Server errors: a status of 500 to 599, and what counts as such (a connection that fails, a TCP service that
    /// resets) unless these are told apart.
    pub consecutive_5xx: u32,
    /// See [`consecutive_5xx`](Self::consecutive_5xx).
    pub enforcing_consecutive_5xx: u32,
    /// Gateway errors: the statuses 502, 503 and 504, and what counts as such.
    pub consecutive_gateway_failure: u32,
    /// See [`consecutive_gateway_failure`](Self::consecutive_gateway_failure).
    pub enforcing_consecutive_gateway_failure: u32,
    /// Whether failures of this side (to connect, a timeout, a reset) are counted apart from the server's errors.
    pub split_external_local_origin_errors: bool,
    /// Failures of this side, where they are counted apart.
    pub consecutive_local_origin_failure: u32,
    /// See [`consecutive_local_origin_failure`](Self::consecutive_local_origin_failure).
    pub enforcing_consecutive_local_origin_failure: u32,
    /// How often it is looked whether endpoints may come back.
    pub interval: Duration,
    /// How long an endpoint is left alone, times how often that has happened to it.
    pub base_ejection_time: Duration,
    /// The longest time an endpoint is left alone.
    pub max_ejection_time: Duration,
    /// The greatest share of endpoints that are left alone together, in percent.
    pub max_ejection_percent: u32,
}

impl OutlierDetection {
    pub(super) fn of(wire: &Wire) -> Self {
        let count =
            |value: &Option<UInt32Value>, default| value.as_ref().map_or(default, |value| value.value);
        let seconds = |value, default| duration(value).unwrap_or(Duration::from_secs(default));
        let base_ejection_time = seconds(wire.base_ejection_time.as_ref(), 30);
        Self {
            consecutive_5xx: count(&wire.consecutive_5xx, 5),
            enforcing_consecutive_5xx: count(&wire.enforcing_consecutive_5xx, 100),
            consecutive_gateway_failure: count(&wire.consecutive_gateway_failure, 5),
            enforcing_consecutive_gateway_failure: count(&wire.enforcing_consecutive_gateway_failure, 0),
            split_external_local_origin_errors: wire.split_external_local_origin_errors,
            consecutive_local_origin_failure: count(&wire.consecutive_local_origin_failure, 5),
            enforcing_consecutive_local_origin_failure: count(
                &wire.enforcing_consecutive_local_origin_failure,
                100,
            ),
            interval: seconds(wire.interval.as_ref(), 10),
            base_ejection_time,
            max_ejection_time: duration(wire.max_ejection_time.as_ref())
                .unwrap_or(base_ejection_time.max(Duration::from_secs(300))),
            max_ejection_percent: count(&wire.max_ejection_percent, 10).min(100),
        }
    }
}
