//! Load balancing policies.

use std::time::Duration;

use xds_proto::envoy::config::cluster::v3::{
    Cluster as Wire,
    cluster::{LbConfig, LbPolicy as WirePolicy, SlowStartConfig},
};

use super::duration::duration;

/// The load balancing policy of a cluster. Fields that CDS does not set have Envoy's defaults (Envoy
/// `api/envoy/config/cluster/v3/cluster.proto`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadBalancing {
    /// The way in which an endpoint is chosen.
    pub policy: LbPolicy,
    /// Slow start; `None` if new endpoints get their full share of the requests immediately.
    pub slow_start: Option<SlowStart>,
    /// Whether first a locality is chosen by its weight, and then an endpoint in it. If false, an endpoint is chosen
    /// among all endpoints of a priority.
    pub locality_weighted: bool,
    /// The panic threshold in percent: with a smaller share of healthy endpoints, health is ignored. 0 disables it; the
    /// default is 50.
    pub healthy_panic_threshold: f64,
}

/// The host selection of a cluster: the way in which an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// The type of the cluster determines the endpoint (`ORIGINAL_DST`).
    ClusterProvided,
    /// The endpoint with the fewest active requests among some random ones.
    LeastRequest {
        /// The number of random endpoints.
        choice_count: u32,
    },
    /// The endpoint that the hash of a request property selects in a lookup table (Maglev).
    Maglev {
        /// The size of the table.
        table_size: u64,
    },
    /// A random endpoint.
    Random,
    /// The endpoint that the hash of a request property selects in a hash ring.
    RingHash {
        /// The minimum size of the ring.
        minimum_size: u64,
        /// The maximum size of the ring.
        maximum_size: u64,
    },
    /// Each endpoint in turn.
    #[default]
    RoundRobin,
    /// A policy that this client does not support.
    Unsupported,
}

/// Slow start of new endpoints. While an endpoint is younger than the window, its weight is multiplied by
/// `max(minimum_percent / 100, (age / window) ^ (1 / aggression))` (Envoy
/// `docs/root/intro/arch_overview/upstream/load_balancing/slow_start.rst`).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlowStart {
    /// The duration of the slow start.
    pub window: Duration,
    /// The shape of the curve: 1 is linear; a larger value increases the weight faster at the beginning.
    pub aggression: f64,
    /// The minimum factor of the weight, in percent.
    pub minimum_percent: f64,
}

impl LoadBalancing {
    pub(super) fn from_wire(wire: &Wire) -> Self {
        let common = wire.common_lb_config.as_ref();
        Self {
            policy: policy(wire),
            slow_start: slow_start(wire.lb_config.as_ref()),
            locality_weighted: common.is_some_and(|common| common.locality_weighted_lb_config.is_some()),
            healthy_panic_threshold: common
                .and_then(|common| common.healthy_panic_threshold.as_ref())
                .map_or(50.0, |percent| self::percent(percent.value)),
        }
    }
}

fn policy(wire: &Wire) -> LbPolicy {
    match WirePolicy::try_from(wire.lb_policy) {
        Ok(WirePolicy::ClusterProvided) => LbPolicy::ClusterProvided,
        Ok(WirePolicy::LeastRequest) => {
            let choices = match &wire.lb_config {
                Some(LbConfig::LeastRequestLbConfig(config)) => config.choice_count,
                _ => None,
            };
            LbPolicy::LeastRequest { choice_count: choices.map_or(2, |choices| choices.value) }
        }
        Ok(WirePolicy::Maglev) => {
            let size = match &wire.lb_config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size,
                _ => None,
            };
            LbPolicy::Maglev { table_size: size.map_or(65537, |size| size.value) }
        }
        Ok(WirePolicy::Random) => LbPolicy::Random,
        Ok(WirePolicy::RingHash) => {
            let (minimum, maximum) = match &wire.lb_config {
                Some(LbConfig::RingHashLbConfig(config)) => {
                    (config.minimum_ring_size, config.maximum_ring_size)
                }
                _ => (None, None),
            };
            LbPolicy::RingHash {
                minimum_size: minimum.map_or(1024, |size| size.value),
                maximum_size: maximum.map_or(8 << 20, |size| size.value),
            }
        }
        Ok(WirePolicy::RoundRobin) => LbPolicy::RoundRobin,
        Ok(WirePolicy::LoadBalancingPolicyConfig) | Err(_) => LbPolicy::Unsupported,
    }
}

fn slow_start(config: Option<&LbConfig>) -> Option<SlowStart> {
    let config: &SlowStartConfig = match config? {
        LbConfig::LeastRequestLbConfig(config) => config.slow_start_config.as_ref()?,
        LbConfig::RoundRobinLbConfig(config) => config.slow_start_config.as_ref()?,
        _ => return None,
    };
    Some(SlowStart {
        window: duration(config.slow_start_window.as_ref()).filter(|window| !window.is_zero())?,
        // Envoy requires a value above 0.
        aggression: config
            .aggression
            .as_ref()
            .map(|value| value.default_value)
            .filter(|value| value.is_finite() && *value > 0.0)
            .unwrap_or(1.0),
        minimum_percent: config
            .min_weight_percent
            .as_ref()
            .map_or(10.0, |percent| self::percent(percent.value)),
    })
}

/// Limits a percentage to the range from 0 to 100. A value that is not a number becomes 0.
fn percent(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 100.0) }
}
