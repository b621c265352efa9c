//! Split horizon: what an endpoint of another network becomes for a proxy (istio `ep_filters.go`; facts F.2, J.2).

use std::collections::BTreeMap;

use super::Proxy;
use crate::model::{Endpoint, NetworkGateway, topology};
use crate::yaml::kubernetes::Labels;

/// An endpoint, and whether clients are told to use mutual TLS with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) is_mtls: bool,
}

/// An endpoint as a proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// Reached directly.
    Direct { candidate: Candidate<'a>, weight: u32 },
    /// Reached through a gateway, which stands for several endpoints.
    Through { gateway: &'a NetworkGateway, weight: u32 },
}

impl Seen<'_> {
    /// The labels that failover goes by.
    pub(super) fn labels(&self) -> Labels {
        match self {
            Self::Direct { candidate, .. } => candidate.endpoint.labels.clone(),
            Self::Through { gateway, .. } => {
                topology::augmented(&Labels::new(), &gateway.cluster, "", "", &gateway.network)
            }
        }
    }
}

/// The endpoints of one locality, seen from `proxy`.
pub(crate) fn filter<'a>(
    proxy: &Proxy,
    gateways: &'a [NetworkGateway],
    candidates: &[Candidate<'a>],
) -> Vec<Seen<'a>> {
    if gateways.is_empty() {
        let direct = |candidate: &Candidate<'a>| Seen::Direct {
            candidate: *candidate,
            weight: candidate.endpoint.weight,
        };
        return candidates.iter().map(direct).collect();
    }
    let scale = scale_factor(gateways);
    let mut seen = Vec::new();
    let mut weights: BTreeMap<&NetworkGateway, u32> = BTreeMap::new();
    for candidate in candidates {
        let endpoint = candidate.endpoint;
        let weight = endpoint.weight.saturating_mul(scale);
        let doors = select(gateways, &endpoint.network, &endpoint.cluster);
        // A proxy without a network is sent through gateways where there are any (facts F.2.4).
        let forced = proxy.network.is_empty() && !endpoint.network.is_empty() && !doors.is_empty();
        if !forced && (proxy.is_in_network(&endpoint.network) || doors.is_empty()) {
            if !endpoint.address.is_empty() {
                seen.push(Seen::Direct { candidate: *candidate, weight });
            }
            continue;
        }
        let reachable: Vec<_> =
            doors.into_iter().filter(|door| proxy.is_dual() || proxy.speaks(&door.address)).collect();
        // Nothing tells a gateway where plaintext wants to go: such endpoints vanish (facts F.2.7, trap 29).
        if !candidate.is_mtls || reachable.is_empty() {
            continue;
        }
        let share = weight / u32::try_from(reachable.len()).unwrap_or(u32::MAX);
        for door in reachable {
            *weights.entry(door).or_default() += share;
        }
    }
    seen.extend(
        weights.into_iter().map(|(gateway, weight)| Seen::Through { gateway, weight: weight.max(1) }),
    );
    seen
}

/// The gateways of the network in that cluster, else all of the network (facts F.2.8); of these the ones that are not for
/// ambient mode alone.
fn select<'a>(gateways: &'a [NetworkGateway], network: &str, cluster: &str) -> Vec<&'a NetworkGateway> {
    let of_network = || gateways.iter().filter(|gateway| gateway.network == network);
    let near: Vec<_> = of_network().filter(|gateway| gateway.cluster == cluster).collect();
    let mut chosen = if near.is_empty() { of_network().collect() } else { near };
    chosen.retain(|gateway| gateway.port > 0);
    chosen
}

/// Least common multiple of the numbers of gateways per network and per network and cluster (facts F.2.2).
fn scale_factor(gateways: &[NetworkGateway]) -> u32 {
    let mut counts: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
    for gateway in gateways {
        *counts.entry((&gateway.network, None)).or_default() += 1;
        *counts.entry((&gateway.network, Some(&gateway.cluster))).or_default() += 1;
    }
    counts.into_values().fold(1, |scale, count| scale / greatest_common_divisor(scale, count) * count)
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
