//! The load balancing policy of an xDS cluster (istio `applyLoadBalancer`, `ApplyRingHashLoadBalancer`).

use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::cluster::v3::cluster::common_lb_config::LocalityWeightedLbConfig;
use xds_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig,
    RingHashLbConfig, RoundRobinLbConfig, SlowStartConfig,
};
use xds_proto::envoy::config::core::v3::RuntimeDouble;
use xds_proto::envoy::r#type::v3::Percent;
use xds_proto::google::protobuf::UInt64Value;

use super::policy::Settings;
use super::structs::duration;
use crate::yaml::destination_rule::{ConsistentHash, LoadBalancer, Simple};
use crate::yaml::mesh_config::MeshConfig;

/// Envoy's default ring size, which istiod sets explicitly if a rule does not choose a hash algorithm.
const RING_SIZE: u64 = 1024;

/// Sets the load balancing policy and the discovery type, and returns the discovery type. With the policy PASSTHROUGH,
/// the discovery type is ORIGINAL_DST, because passthrough clusters have no endpoints.
pub(super) fn apply(
    cluster: &mut Cluster,
    config: &MeshConfig,
    settings: &Settings<'_>,
    kind: DiscoveryType,
) -> DiscoveryType {
    // Disables the panic threshold: unhealthy endpoints are sent, but must not be selected.
    let common = cluster.common_lb_config.get_or_insert_default();
    common.healthy_panic_threshold.get_or_insert_default();
    let balancer = settings.load_balancer;
    common.locality_weighted_lb_config =
        weighs_localities(config, settings).then(LocalityWeightedLbConfig::default);
    let is_passed_through = balancer.is_some_and(|balancer| balancer.simple == Simple::Passthrough);
    if kind == DiscoveryType::OriginalDst || is_passed_through {
        pass_through(cluster);
        return DiscoveryType::OriginalDst;
    }
    let (policy, config) = match balancer.and_then(|it| it.consistent_hash.as_ref()) {
        Some(hash) => by_hash(hash),
        None => simple(balancer),
    };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    cluster.lb_policy = policy.into();
    cluster.lb_config = config;
    kind
}

fn pass_through(cluster: &mut Cluster) {
    cluster.load_assignment = None;
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
    cluster.lb_policy = LbPolicy::ClusterProvided.into();
}

fn simple(balancer: Option<&LoadBalancer>) -> (LbPolicy, Option<LbConfig>) {
    let slow_start = balancer.and_then(slow_start);
    match balancer.map_or(Simple::Unspecified, |it| it.simple) {
        Simple::Random => (LbPolicy::Random, None),
        Simple::RoundRobin => {
            let config = |slow_start| RoundRobinLbConfig { slow_start_config: Some(slow_start) };
            (LbPolicy::RoundRobin, slow_start.map(config).map(LbConfig::RoundRobinLbConfig))
        }
        _ => {
            let config =
                |slow_start| LeastRequestLbConfig { slow_start_config: Some(slow_start), choice_count: None };
            (LbPolicy::LeastRequest, slow_start.map(config).map(LbConfig::LeastRequestLbConfig))
        }
    }
}

fn by_hash(hash: &ConsistentHash) -> (LbPolicy, Option<LbConfig>) {
    let size = |value: u64| (value > 0).then_some(UInt64Value { value });
    let ring = |size: UInt64Value| {
        LbConfig::RingHashLbConfig(RingHashLbConfig {
            minimum_ring_size: Some(size),
            maximum_ring_size: None,
        })
    };
    match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => {
            let table = |size| LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: Some(size) });
            (LbPolicy::Maglev, size(maglev.table_size).map(table))
        }
        (None, Some(of_ring)) => (LbPolicy::RingHash, size(of_ring.minimum_ring_size).map(ring)),
        (None, None) => {
            let value = Some(hash.minimum_ring_size).filter(|it| *it > 0).unwrap_or(RING_SIZE);
            (LbPolicy::RingHash, Some(ring(UInt64Value { value })))
        }
    }
}

/// Returns the slow start configuration for new endpoints, or `None` if the DestinationRule sets no warmup.
fn slow_start(balancer: &LoadBalancer) -> Option<SlowStartConfig> {
    match (&balancer.warmup, balancer.warmup_duration_secs) {
        (Some(warmup), _) => Some(SlowStartConfig {
            slow_start_window: warmup.duration.map(duration),
            aggression: Some(RuntimeDouble { default_value: warmup.aggression.unwrap_or(1.0) }),
            min_weight_percent: Some(Percent { value: warmup.minimum_percent.unwrap_or(10.0) }),
        }),
        (None, Some(window)) => Some(SlowStartConfig {
            slow_start_window: Some(duration(window)),
            aggression: None,
            min_weight_percent: None,
        }),
        (None, None) => None,
    }
}

/// Returns whether the weights of localities apply. They apply if the rule has `distribute`, or failover with outlier
/// detection.
fn weighs_localities(config: &MeshConfig, settings: &Settings<'_>) -> bool {
    let setting = settings.localities(config);
    setting.filter(|setting| setting.enabled != Some(false)).is_some_and(|setting| {
        let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
        !setting.distribute.is_empty() || (fails_over && settings.outlier_detection.is_some())
    })
}
