//! Connection settings of a cluster: circuit breakers, keepalive, limits of a connection.

use std::time::Duration;

use xds_proto::envoy::config::{
    cluster::v3::CircuitBreakers as WireBreakers,
    core::v3::{HttpProtocolOptions, TcpKeepalive as WireKeepalive},
};

use super::duration::duration;

/// The circuit breakers of a cluster. Fields that CDS does not set have Envoy's defaults (Envoy
/// `api/envoy/config/cluster/v3/circuit_breaker.proto`); istiod sends `u32::MAX` unless a DestinationRule sets a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakers {
    /// The maximum number of open connections.
    pub max_connections: u32,
    /// The maximum number of requests that wait for a connection.
    pub max_pending_requests: u32,
    /// The maximum number of active requests.
    pub max_requests: u32,
    /// The maximum number of active retries.
    pub max_retries: u32,
}

/// TCP keepalive probes. `None` means the default of the operating system.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// The number of unanswered probes after which the connection is closed.
    pub probes: Option<u32>,
    /// The idle time before the first probe.
    pub time: Option<Duration>,
    /// The interval between probes.
    pub interval: Option<Duration>,
}

/// The limits of a single connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// The maximum time that a connection stays open without a request; `None` for Envoy's default of one hour, zero
    /// for no limit.
    pub idle_timeout: Option<Duration>,
    /// The maximum age of a connection; `None` for no limit.
    pub max_duration: Option<Duration>,
    /// The maximum number of requests on a connection; `None` for no limit.
    pub max_requests: Option<u32>,
}

impl CircuitBreakers {
    /// Converts the first threshold of a message. istiod sends only one, for the default priority.
    pub(super) fn from_wire(wire: Option<&WireBreakers>) -> Self {
        let threshold = wire.and_then(|wire| wire.thresholds.first()).cloned().unwrap_or_default();
        Self {
            max_connections: threshold.max_connections.map_or(1024, |value| value.value),
            max_pending_requests: threshold.max_pending_requests.map_or(1024, |value| value.value),
            max_requests: threshold.max_requests.map_or(1024, |value| value.value),
            max_retries: threshold.max_retries.map_or(3, |value| value.value),
        }
    }
}

impl TcpKeepalive {
    pub(super) fn from_wire(wire: &WireKeepalive) -> Self {
        let seconds = |value: u32| Duration::from_secs(value.into());
        Self {
            probes: wire.keepalive_probes.map(|value| value.value),
            time: wire.keepalive_time.map(|value| seconds(value.value)),
            interval: wire.keepalive_interval.map(|value| seconds(value.value)),
        }
    }
}

impl ConnectionLimits {
    pub(super) fn from_wire(wire: Option<&HttpProtocolOptions>) -> Self {
        let Some(wire) = wire else { return Self::default() };
        Self {
            idle_timeout: duration(wire.idle_timeout.as_ref()),
            max_duration: duration(wire.max_connection_duration.as_ref()),
            max_requests: wire.max_requests_per_connection.map(|value| value.value).filter(|most| *most > 0),
        }
    }
}
