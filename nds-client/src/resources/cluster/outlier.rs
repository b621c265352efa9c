//! Outlier detection settings.

use std::time::Duration;

use xds_proto::{envoy::config::cluster::v3::OutlierDetection as Wire, google::protobuf::UInt32Value};

use super::duration::duration;

/// The outlier detection of a cluster: the conditions and the duration of ejections. Fields that CDS does not set have
/// Envoy's defaults (Envoy `api/envoy/config/cluster/v3/outlier_detection.proto`).
///
/// A `consecutive_` value is the number of consecutive failures after which an endpoint can be ejected. An `enforcing_`
/// value is the probability, in percent, that an endpoint that reaches the count is ejected. Each `enforcing_` value
/// belongs to the `consecutive_` value with the rest of its name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// The number of server errors: status codes 500 to 599. Unless local-origin failures are counted separately,
    /// failed connections and resets count too.
    pub consecutive_5xx: u32,
    /// The probability of an ejection after [`consecutive_5xx`](Self::consecutive_5xx) failures.
    pub enforcing_consecutive_5xx: u32,
    /// The number of gateway errors: status codes 502, 503 and 504, and the local-origin failures that count as gateway
    /// errors.
    pub consecutive_gateway_failure: u32,
    /// The probability of an ejection after [`consecutive_gateway_failure`](Self::consecutive_gateway_failure)
    /// failures.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Whether local-origin failures (failed connections, timeouts, resets) are counted separately from server errors.
    pub split_external_local_origin_errors: bool,
    /// The number of local-origin failures, if they are counted separately.
    pub consecutive_local_origin_failure: u32,
    /// The probability of an ejection after
    /// [`consecutive_local_origin_failure`](Self::consecutive_local_origin_failure) failures.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// The interval at which it is checked whether ejections end.
    pub interval: Duration,
    /// The duration of the first ejection of an endpoint. A later ejection lasts this time multiplied by the number of
    /// ejections of the endpoint.
    pub base_ejection_time: Duration,
    /// The maximum duration of an ejection.
    pub max_ejection_time: Duration,
    /// The maximum share of ejected endpoints, in percent.
    pub max_ejection_percent: u32,
}

impl OutlierDetection {
    pub(super) fn from_wire(wire: &Wire) -> Self {
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
