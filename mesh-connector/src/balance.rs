//! Which endpoint next: priority, health, weights, chance.
//!
//! Each connection chooses anew, so that gateways and remote clusters share the load as the control plane weighs
//! them; each endpoint is offered at most once per connection. Envoy's rules are followed where they decide who may
//! be chosen (priorities in order, unhealthy ones not at all, degraded ones after the others of their priority); its
//! panic mode and overprovisioning factor are not: no unhealthy endpoint is ever dialled. Endpoints that failed lately
//! come after all others.

use std::{cmp::Reverse, collections::HashMap, ptr};

use fastrand::Rng;
use nds_client::{Endpoint, EndpointHealth, Endpoints, LocalityEndpoints};

/// The endpoints of a cluster that may be dialled, not yet offered.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    /// Sorted by rank, the best at the end.
    left: Vec<Candidate<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    rank: Rank,
    weight: f64,
    endpoint: &'a Endpoint,
}

/// Lower is better: whether the endpoint failed lately, its priority, whether it is degraded.
type Rank = (bool, u32, bool);

impl<'a> Candidates<'a> {
    /// All that may be dialled; those that `deferred` holds for come last.
    pub(crate) fn new(endpoints: &'a Endpoints, deferred: impl Fn(&Endpoint) -> bool) -> Self {
        let mut left: Vec<_> = endpoints.localities.iter().flat_map(usable).collect();
        for candidate in &mut left {
            candidate.rank.0 = deferred(candidate.endpoint);
        }
        left.sort_by_key(|candidate| Reverse(candidate.rank));
        Self { left }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// Takes the next endpoint: one of the best rank, by chance and weight.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Option<&'a Endpoint> {
        let best = self.left.last()?.rank;
        let from = self.left.partition_point(|candidate| candidate.rank > best);
        let tier = &self.left[from..];
        let total: f64 = tier.iter().map(|candidate| candidate.weight).sum();
        let chosen = choose(tier.iter().map(|candidate| candidate.weight), rng.f64() * total);
        Some(self.left.remove(from + chosen).endpoint)
    }
}

/// The endpoints of one locality, each with its share among all: the locality's weight, divided over its endpoints.
///
/// The share of an unhealthy endpoint is not passed on to its neighbours: a locality that has lost half of its
/// endpoints gets half of its traffic, as in Envoy's locality weighted balancing.
fn usable(locality: &LocalityEndpoints) -> impl Iterator<Item = Candidate<'_>> {
    let sum: f64 = locality.endpoints.iter().map(|endpoint| f64::from(endpoint.weight)).sum();
    let scale = if locality.weight == 0 { 1.0 } else { f64::from(locality.weight) / sum };
    locality.endpoints.iter().filter_map(move |endpoint| {
        let degraded = match endpoint.health {
            EndpointHealth::Healthy | EndpointHealth::Unknown => false,
            EndpointHealth::Degraded => true,
            _ => return None,
        };
        let weight = f64::from(endpoint.weight) * scale;
        Some(Candidate { rank: (false, locality.priority, degraded), weight, endpoint })
    })
}

/// Where an endpoint stands among the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// Among those that a connection chooses from first: this share of connections chooses it.
    First { share: f64 },
    /// After others have failed.
    Later(Why),
    /// Not dialled at all.
    Unhealthy,
}

/// Why an endpoint is not among the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    Degraded,
    FailedLately,
    Priority,
}

/// All endpoints, in the control plane's order, each with its place.
pub(crate) fn places(
    endpoints: &Endpoints,
    deferred: impl Fn(&Endpoint) -> bool,
) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint, Place)> {
    let Candidates { left } = Candidates::new(endpoints, deferred);
    let best = left.last().map(|candidate| candidate.rank);
    let first = left.iter().filter(|candidate| Some(candidate.rank) == best);
    let total: f64 = first.map(|candidate| candidate.weight).sum();
    let by_address: HashMap<_, _> = left.iter().map(|one| (ptr::from_ref(one.endpoint), *one)).collect();
    endpoints.iter().map(move |(locality, endpoint)| {
        let place = match by_address.get(&ptr::from_ref(endpoint)) {
            None => Place::Unhealthy,
            Some(one) if Some(one.rank) == best => Place::First { share: one.weight / total },
            Some(Candidate { rank: (true, ..), .. }) => Place::Later(Why::FailedLately),
            Some(Candidate { rank: (false, _, true), .. }) => Place::Later(Why::Degraded),
            Some(_) => Place::Later(Why::Priority),
        };
        (locality, endpoint, place)
    })
}

/// The index of the weight that `point` falls on, when the weights are laid end to end.
fn choose(weights: impl Iterator<Item = f64>, point: f64) -> usize {
    let mut end = 0.0;
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        end += weight;
        last = index;
        if point < end {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;
