//! The outlier detection of an xDS cluster (istio `applyOutlierDetection`).

use xds_proto::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use xds_proto::envoy::r#type::v3::Percent;
use xds_proto::google::protobuf::UInt32Value;

use super::policy::Settings;
use super::structs::duration;

/// Sets the outlier detection and the panic threshold that the DestinationRule configures. Does nothing if the
/// DestinationRule configures no outlier detection.
pub(super) fn apply(cluster: &mut Cluster, settings: &Settings<'_>) {
    let Some(rule) = settings.outlier_detection else { return };
    let number = |value: u32| Some(UInt32Value { value });
    // A configured number of errors always leads to an ejection (100 percent). Zero disables the check.
    let enforced = |errors: Option<u32>| errors.and_then(|errors| number(if errors > 0 { 100 } else { 0 }));
    let counted = |errors: Option<u32>| errors.and_then(number);
    let is_split = rule.split_external_local_origin_errors;
    let local = rule.consecutive_local_origin_failures.filter(|errors| is_split && *errors > 0);
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: counted(rule.consecutive_5xx_errors),
        enforcing_consecutive_5xx: enforced(rule.consecutive_5xx_errors),
        consecutive_gateway_failure: counted(rule.consecutive_gateway_errors),
        enforcing_consecutive_gateway_failure: enforced(rule.consecutive_gateway_errors),
        consecutive_local_origin_failure: counted(local),
        enforcing_consecutive_local_origin_failure: enforced(local),
        enforcing_success_rate: number(0),
        enforcing_local_origin_success_rate: number(0).filter(|_| is_split),
        split_external_local_origin_errors: is_split,
        interval: rule.interval.map(duration),
        base_ejection_time: rule.base_ejection_time.map(duration),
        max_ejection_percent: number(rule.max_ejection_percent).filter(|it| it.value > 0),
        max_ejection_time: None,
    });
    let threshold = Percent { value: rule.min_health_percent.into() };
    cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold = Some(threshold);
}
