//! Split horizon: the gateways that a proxy uses instead of endpoints in other networks (istio `ep_filters.go`).

use std::collections::BTreeMap;

use super::Proxy;
use crate::model::{Endpoint, NetworkGateway, topology};
use crate::yaml::kubernetes::Labels;

/// An endpoint, and whether clients use mutual TLS with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) is_mtls: bool,
}

/// An endpoint as seen by a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// An endpoint that the proxy can reach directly.
    Direct { candidate: Candidate<'a>, weight: u32 },
    /// A gateway, which represents endpoints of another network.
    Through { gateway: &'a NetworkGateway, weight: u32 },
}

impl Seen<'_> {
    /// Returns the labels of the endpoint or gateway by which failover sets priorities.
    pub(super) fn labels(&self) -> Labels {
        match self {
            Self::Direct { candidate, .. } => candidate.endpoint.labels.clone(),
            Self::Through { gateway, .. } => {
                topology::augmented(&Labels::new(), &gateway.cluster, "", "", &gateway.network)
            }
        }
    }
}

/// Returns the endpoints of one locality as `proxy` sees them: gateways replace endpoints in other networks.
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
        // A proxy without a network uses the gateways of the network of the endpoint, if there are any (istio
        // `ep_filters.go`).
        let forced = proxy.network.is_empty() && !endpoint.network.is_empty() && !doors.is_empty();
        if !forced && (proxy.is_in_network(&endpoint.network) || doors.is_empty()) {
            if !endpoint.address.is_empty() {
                seen.push(Seen::Direct { candidate: *candidate, weight });
            }
            continue;
        }
        let reachable: Vec<_> =
            doors.into_iter().filter(|door| proxy.is_dual() || proxy.speaks(&door.address)).collect();
        // A gateway cannot forward plaintext, because it routes by SNI: endpoints without mTLS are omitted (istio
        // `ep_filters.go`).
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

/// Returns the gateways of a network in a cluster, or all gateways of the network if none is in that cluster. Gateways
/// for ambient mode only are omitted (istio `ep_filters.go`).
fn select<'a>(gateways: &'a [NetworkGateway], network: &str, cluster: &str) -> Vec<&'a NetworkGateway> {
    let of_network = || gateways.iter().filter(|gateway| gateway.network == network);
    let near: Vec<_> = of_network().filter(|gateway| gateway.cluster == cluster).collect();
    let mut chosen = if near.is_empty() { of_network().collect() } else { near };
    chosen.retain(|gateway| gateway.port > 0);
    chosen
}

/// Returns the factor by which endpoint weights are multiplied, so that gateways can share a weight without a
/// remainder: the least common multiple of the numbers of gateways per network, and per network and cluster (istio
/// `pilot/pkg/model/network.go`).
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
