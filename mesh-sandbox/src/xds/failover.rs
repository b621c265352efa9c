//! Priorities and weights of localities relative to the locality of the proxy (istio
//! `networking/core/loadbalancer/loadbalancer.go`).

use std::collections::{BTreeMap, BTreeSet};

use xds_proto::envoy::config::core::v3::Locality;
use xds_proto::envoy::config::endpoint::v3::{LbEndpoint, LocalityLbEndpoints};
use xds_proto::google::protobuf::UInt32Value;

use super::Proxy;
use super::policy::Settings;
use crate::model::networks::NETWORK_LABEL;
use crate::yaml::destination_rule::{Distribute, Failover, LocalitySetting};
use crate::yaml::kubernetes::Labels;
use crate::yaml::mesh_config::MeshConfig;

/// The endpoints of one locality, with their labels.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) message: LocalityLbEndpoints,
    pub(super) labels: Vec<Labels>,
}

/// Sets priorities and weights by the locality settings of the DestinationRule or of the mesh. Failover needs outlier
/// detection: without outlier detection, no priority is set. With outlier detection, localities have priorities even if
/// the settings do not configure failover.
pub(super) fn apply(
    mut groups: Vec<Group>,
    config: &MeshConfig,
    settings: &Settings<'_>,
    proxy: &Proxy,
) -> Vec<Group> {
    let default = LocalitySetting::default();
    let setting = settings.localities(config).unwrap_or(&default);
    if setting.enabled == Some(false) {
        return groups;
    }
    let locality = LocalityParts::of(&proxy.locality);
    if !setting.distribute.is_empty() {
        distribute(&mut groups, &locality, &setting.distribute);
    } else if settings.outlier_detection.is_some() {
        if !setting.failover_priority.is_empty() {
            groups = by_labels(groups, &proxy.labels, &setting.failover_priority);
        }
        if setting.failover_priority.is_empty() || !setting.failover.is_empty() {
            by_locality(&mut groups, &locality, &setting.failover);
        }
    }
    groups
}

/// A locality: region, zone and subzone.
#[derive(Debug, PartialEq, Eq)]
struct LocalityParts<'a>([&'a str; 3]);

impl<'a> LocalityParts<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.split('/');
        Self([(); 3].map(|()| parts.next().unwrap_or_default()))
    }

    fn of_message(locality: Option<&'a Locality>) -> Self {
        Self(locality.map_or([""; 3], |it| [&it.region, &it.zone, &it.sub_zone]))
    }

    /// Returns whether the locality matches a pattern such as `r1/z1/*`.
    fn is_in(&self, pattern: &str) -> bool {
        let LocalityParts([region, zone, subzone]) = LocalityParts::of(pattern);
        let covers = |pattern: &str, own: &str| pattern == "*" || pattern == own;
        covers(region, self.0[0])
            && (zone.is_empty() || covers(zone, self.0[1]))
            && (subzone.is_empty() || covers(subzone, self.0[2]))
    }
}

/// Sets the share of each locality. Localities that match the same pattern divide the share of the pattern in
/// proportion to their weights. Localities that match no pattern lose their endpoints.
fn distribute(groups: &mut [Group], own: &LocalityParts<'_>, settings: &[Distribute]) {
    let Some(setting) = settings.iter().find(|setting| own.is_in(&setting.from)) else { return };
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    for (pattern, share) in &setting.to {
        let covered: Vec<usize> = left
            .iter()
            .copied()
            .filter(|index| {
                LocalityParts::of_message(groups[*index].message.locality.as_ref()).is_in(pattern)
            })
            .collect();
        let weight =
            |index: usize| groups[index].message.load_balancing_weight.map_or(1, |weight| weight.value);
        let weights: Vec<u64> = covered.iter().map(|index| u64::from(weight(*index))).collect();
        let total: u64 = weights.iter().sum();
        for (index, weight) in covered.into_iter().zip(weights) {
            left.remove(&index);
            let product = weight * u64::from(*share);
            if product > 0 {
                let value = u32::try_from(product.div_ceil(total)).unwrap_or(u32::MAX);
                groups[index].message.load_balancing_weight = Some(UInt32Value { value });
            }
        }
    }
    for index in left {
        groups[index].message.lb_endpoints.clear();
        groups[index].labels.clear();
    }
}

/// Sets priorities by locality: a nearer locality has a higher priority; regions that are not failover targets come
/// last.
fn by_locality(groups: &mut [Group], own: &LocalityParts<'_>, failover: &[Failover]) {
    for group in groups.iter_mut() {
        let locality = LocalityParts::of_message(group.message.locality.as_ref());
        let same = locality.0.iter().zip(own.0).take_while(|(a, b)| **a == *b).count();
        let mut priority = 3 - same;
        let setting = failover.iter().find(|it| it.from == own.0[0]);
        if priority == 3 && setting.is_some_and(|setting| setting.to != locality.0[0]) {
            priority = 4;
        }
        group.message.priority = group.message.priority * 5 + u32::try_from(priority).unwrap_or(4);
    }
    close_gaps(groups);
}

/// Sets priorities by labels. An endpoint that has more of the first labels in `wanted` in common with the proxy has a
/// higher priority.
fn by_labels(groups: Vec<Group>, own: &Labels, wanted: &[String]) -> Vec<Group> {
    let wanted: Vec<(&str, Option<&str>)> = wanted
        .iter()
        .map(|label| label.split_once('=').map_or((label.as_str(), None), |(key, value)| (key, Some(value))))
        .collect();
    let mut all = Vec::new();
    for group in groups {
        let mut by_priority: BTreeMap<usize, Vec<(LbEndpoint, Labels)>> = BTreeMap::new();
        for (endpoint, labels) in group.message.lb_endpoints.iter().zip(&group.labels) {
            let priority = priority(labels, own, &wanted);
            by_priority.entry(priority).or_default().push((endpoint.clone(), labels.clone()));
        }
        for (priority, members) in by_priority {
            let (lb_endpoints, labels): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            let weights = lb_endpoints.iter().filter_map(|it: &LbEndpoint| it.load_balancing_weight);
            let weight = Some(UInt32Value { value: weights.map(|it| it.value).sum() });
            let message = LocalityLbEndpoints {
                locality: group.message.locality.clone(),
                lb_endpoints,
                load_balancing_weight: weight,
                priority: u32::try_from(priority).unwrap_or(u32::MAX),
            };
            all.push(Group { message, labels });
        }
    }
    close_gaps(&mut all);
    all
}

fn priority(labels: &Labels, own: &Labels, wanted: &[(&str, Option<&str>)]) -> usize {
    let mut penalty = 0;
    for (index, (key, value)) in wanted.iter().enumerate() {
        let value = value.or_else(|| own.get(*key).map(String::as_str)).unwrap_or_default();
        if labels.get(*key).map_or("", String::as_str) == value {
            continue;
        }
        // Endpoints of another network have a lower priority than all endpoints of the network of the proxy. Among
        // themselves they are ordered by the remaining labels in `wanted`.
        if index == 0 && *key == NETWORK_LABEL {
            penalty = wanted.len();
            continue;
        }
        return wanted.len() - index + penalty;
    }
    penalty
}

/// Renumbers the priorities, because Envoy requires them without gaps.
fn close_gaps(groups: &mut [Group]) {
    let used: BTreeSet<u32> = groups.iter().map(|group| group.message.priority).collect();
    let order: BTreeMap<u32, u32> = used.into_iter().zip(0..).collect();
    for group in groups {
        group.message.priority = order[&group.message.priority];
    }
}
