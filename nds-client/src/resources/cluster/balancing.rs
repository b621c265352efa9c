//! How a cluster spreads connections over its endpoints.

use std::time::Duration;

use xds_proto::envoy::config::cluster::v3::{
    Cluster as Wire,
    cluster::{LbConfig, LbPolicy as WirePolicy, SlowStartConfig},
};

use super::duration::duration;

/// How a cluster spreads connections over its endpoints. Where the control plane says nothing, Envoy's defaults stand
/// here (Envoy `api/envoy/config/cluster/v3/cluster.proto`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadBalancing {
    /// How one endpoint of several is chosen.
    pub policy: LbPolicy,
    /// How the share of a new endpoint grows; `None` where it has its whole share at once.
    pub slow_start: Option<SlowStart>,
    /// Whether a locality is chosen by its weight before an endpoint in it; otherwise localities of one priority count
    /// by their endpoints alone.
    pub locality_weighted: bool,
    /// In percent: with a smaller share of healthy endpoints, unhealthy ones are used as well. 0 switches that off; 50
    /// where the control plane says nothing.
    pub healthy_panic_threshold: f64,
}

/// How one endpoint of several is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// The cluster's type decides (`ORIGINAL_DST`).
    ClusterProvided,
    /// The least busy of some chosen at random.
    LeastRequest {
        /// How many are chosen at random.
        choice_count: u32,
    },
    /// By the hash of something in the request, over a table.
    Maglev {
        /// How many entries the table has.
        table_size: u64,
    },
    /// At random.
    Random,
    /// By the hash of something in the request, over a ring.
    RingHash {
        /// The least number of points on the ring.
        minimum_size: u64,
        /// The greatest number of points on the ring.
        maximum_size: u64,
    },
    /// One after the other.
    #[default]
    RoundRobin,
    /// One that this client does not know.
    Unsupported,
}

/// How the share of a new endpoint grows: `max(minimum_percent / 100, (age / window) ^ (1 / aggression))` of its weight
/// while it is younger than the window (Envoy `docs/root/intro/arch_overview/upstream/load_balancing/slow_start.rst`).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlowStart {
    /// How long the share grows.
    pub window: Duration,
    /// 1 for a straight line; with more the share grows faster in the beginning.
    pub aggression: f64,
    /// The least share of the endpoint's weight, in percent.
    pub minimum_percent: f64,
}

impl LoadBalancing {
    pub(super) fn of(wire: &Wire) -> Self {
        let common = wire.common_lb_config.as_ref();
        Self {
            policy: policy(wire),
            slow_start: slow_start(wire.lb_config.as_ref()),
            locality_weighted: common.is_some_and(|common| common.locality_weighted_lb_config.is_some()),
            healthy_panic_threshold: common
                .and_then(|common| common.healthy_panic_threshold.as_ref())
                .map_or(50.0, |percent| percent.value),
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
        aggression: config.aggression.as_ref().map_or(1.0, |value| value.default_value),
        minimum_percent: config.min_weight_percent.as_ref().map_or(10.0, |percent| percent.value),
    })
}
