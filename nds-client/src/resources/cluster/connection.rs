//! What a cluster says about its connections: how many, how long, and what keeps them alive.

use std::time::Duration;

use xds_proto::envoy::config::{
    cluster::v3::CircuitBreakers as WireBreakers,
    core::v3::{HttpProtocolOptions, TcpKeepalive as WireKeepalive},
};

use super::duration::duration;

/// How much of a cluster is used at once. Where the control plane says nothing, Envoy's defaults stand here (Envoy
/// `api/envoy/config/cluster/v3/circuit_breaker.proto`); istiod says `u32::MAX` unless a DestinationRule says less.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakers {
    /// Open connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests under way.
    pub max_requests: u32,
    /// Retries under way.
    pub max_retries: u32,
}

/// TCP keepalive probes. What is not said is the system's to say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// How many probes go unanswered until the connection is dead.
    pub probes: Option<u32>,
    /// How long a connection is idle until the first probe.
    pub time: Option<Duration>,
    /// The time between probes.
    pub interval: Option<Duration>,
}

/// How long a connection lives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConnectionLife {
    /// Without a request; `None` where nothing is said (Envoy takes an hour), zero for no limit.
    pub idle_timeout: Option<Duration>,
    /// In all; `None` for no limit.
    pub max_duration: Option<Duration>,
    /// In requests; `None` for no limit.
    pub max_requests: Option<u32>,
}

impl CircuitBreakers {
    /// The first threshold that names a limit counts: istiod sends one, for the default priority.
    pub(super) fn of(wire: Option<&WireBreakers>) -> Self {
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
    pub(super) fn of(wire: &WireKeepalive) -> Self {
        let seconds = |value: u32| Duration::from_secs(value.into());
        Self {
            probes: wire.keepalive_probes.map(|value| value.value),
            time: wire.keepalive_time.map(|value| seconds(value.value)),
            interval: wire.keepalive_interval.map(|value| seconds(value.value)),
        }
    }
}

impl ConnectionLife {
    pub(super) fn of(wire: Option<&HttpProtocolOptions>) -> Self {
        let Some(wire) = wire else { return Self::default() };
        Self {
            idle_timeout: duration(wire.idle_timeout.as_ref()),
            max_duration: duration(wire.max_connection_duration.as_ref()),
            max_requests: wire.max_requests_per_connection.map(|value| value.value).filter(|most| *most > 0),
        }
    }
}
