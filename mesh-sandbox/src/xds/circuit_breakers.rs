//! The circuit breakers of an xDS cluster (istio `applyConnectionPool`, `getDefaultCircuitBreakerThresholds`).

use xds_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use xds_proto::envoy::config::cluster::v3::{CircuitBreakers, UpstreamConnectionOptions};
use xds_proto::envoy::config::core::v3::TcpKeepalive;
use xds_proto::google::protobuf::UInt32Value;

use super::policy::Settings;
use crate::yaml::destination_rule::Keepalive;
use crate::yaml::mesh_config::MeshConfig;

/// Returns the circuit breakers that the DestinationRule sets. A limit that is missing or zero is encoded as the
/// largest number.
pub(super) fn of(settings: &Settings<'_>) -> CircuitBreakers {
    let limit = |value: u32| Some(UInt32Value { value: if value == 0 { u32::MAX } else { value } });
    let pool = settings.connection_pool.cloned().unwrap_or_default();
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: limit(pool.tcp().max_connections),
            max_pending_requests: limit(pool.http().http1_max_pending_requests),
            max_requests: limit(pool.http().http2_max_requests),
            max_retries: limit(pool.http().max_retries),
        }],
    }
}

/// Returns the TCP keepalive settings in whole seconds. Each value of the DestinationRule overrides the value of the
/// mesh configuration. Returns `None` if neither the DestinationRule nor the mesh configuration has keepalive settings.
/// Empty settings enable keepalive with the defaults of the system.
pub(super) fn keepalive(config: &MeshConfig, settings: &Settings<'_>) -> Option<UpstreamConnectionOptions> {
    let of_rule = settings.connection_pool.and_then(|pool| pool.tcp().tcp_keepalive);
    let keepalive = match (config.tcp_keepalive, of_rule) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(general), Some(own)) => Keepalive {
            probes: if own.probes > 0 { own.probes } else { general.probes },
            time: own.time.or(general.time),
            interval: own.interval.or(general.interval),
        },
    };
    let seconds = |duration: std::time::Duration| UInt32Value {
        value: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
    };
    let tcp_keepalive = Some(TcpKeepalive {
        keepalive_probes: (keepalive.probes > 0).then_some(UInt32Value { value: keepalive.probes }),
        keepalive_time: keepalive.time.map(seconds),
        keepalive_interval: keepalive.interval.map(seconds),
    });
    Some(UpstreamConnectionOptions { tcp_keepalive })
}
