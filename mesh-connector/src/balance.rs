//! Load balancing: chooses endpoints by priority, health, weights and the policy of the cluster.
//!
//! A [`Plan`] is computed from a snapshot of the endpoints of a cluster. It chooses the first endpoint of a connection,
//! and the next one after each failure. Each connection makes a new choice, so that gateways and remote clusters share
//! the load according to the weights that the control plane sends. A connection tries each endpoint at most once.
//!
//! The first choice follows Envoy (`source/extensions/load_balancing_policies/common/load_balancer_impl.cc`):
//!
//! - If the number of healthy endpoints of a priority, times 1.4, is less than the number of all its endpoints, the
//!   next priority receives the remaining load.
//! - If the usable endpoints of all priorities together cannot carry the whole load, a priority whose share of usable
//!   endpoints is less than the panic threshold uses all its endpoints (panic mode).
//! - Degraded endpoints take the load that healthy endpoints cannot carry.
//! - If the cluster enables locality weights, a locality receives load in proportion to its weight.
//!
//! The choice after a failed attempt is specific to this client: first the other endpoints of the same priority, then
//! those of the next. Endpoints that failed recently come last.
//!
//! Hash policies (`RING_HASH`, `MAGLEV`) choose randomly, because a connection has no request to hash. Envoy does the
//! same for a request without a hash.

mod group;
mod levels;

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use nds_client::resources::cluster::{LbPolicy, LoadBalancing};

use self::{
    group::Group,
    levels::{Level, OVERPROVISIONING, levels},
};

/// The integer that represents a slow start factor of 1. Weights are integers.
const SLOW_START_RESOLUTION: u64 = 1000;

/// The properties of an endpoint that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) priority: u32,
    /// The index of the locality in the endpoints of the cluster.
    pub(crate) locality: usize,
    pub(crate) locality_weight: u32,
    pub(crate) weight: u32,
    pub(crate) health: HostHealth,
    /// Whether a failure has moved the endpoint to the end of the order for a limited time.
    pub(crate) recently_failed: bool,
    /// The slow start factor: the share of its weight that a new endpoint has, from 0 to 1.
    pub(crate) slow_start_factor: f64,
}

/// The health of an endpoint for load balancing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HostHealth {
    Healthy,
    Degraded,
    /// The endpoint is unhealthy or ejected, and is used only in panic mode.
    Unhealthy,
}

/// The rank of an endpoint: whether it failed recently, its priority, and whether it is degraded. A lower rank is
/// better.
type Rank = (bool, u32, bool);

/// The order in which connections try endpoints. Indices refer to the candidates from which the plan was created.
#[derive(Debug)]
pub(crate) struct Plan {
    policy: LbPolicy,
    members: Vec<Member>,
    /// The groups from which the first endpoint is chosen.
    groups: Vec<Group>,
    turn: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// The rank of the endpoint. `None` if the endpoint is unhealthy and its priority is not in panic mode.
    rank: Option<Rank>,
    weight: u64,
    /// The share of connections that try the endpoint first.
    share: f64,
}

impl Plan {
    pub(crate) fn new(candidates: &[Candidate], settings: &LoadBalancing, rng: &mut Rng) -> Self {
        let levels = levels(candidates, settings.healthy_panic_threshold);
        let has_slow_start = settings.slow_start.is_some();
        let member = |candidate: &Candidate| Member {
            rank: rank(candidate, &levels),
            weight: weight(candidate, has_slow_start),
            share: 0.0,
        };
        let members = candidates.iter().map(member).collect();
        let turn = AtomicU64::new(rng.u64(..));
        let mut plan = Self { policy: settings.policy, members, groups: Vec::new(), turn };
        // Each endpoint belongs to one priority and one locality, so one sort groups the endpoints by both.
        let mut sorted: Vec<usize> = (0..candidates.len()).collect();
        sorted.sort_by_key(|index| (candidates[*index].priority, candidates[*index].locality));
        let of_level = sorted.chunk_by(|a, b| candidates[*a].priority == candidates[*b].priority);
        for (level, here) in levels.iter().zip(of_level) {
            plan.first_of(candidates, here, level, settings.locality_weighted, rng);
        }
        if plan.groups.is_empty() {
            plan.best_tier(rng);
        }
        plan.lay_out();
        plan
    }

    /// Returns the index of the endpoint that a connection tries first. `None` if no endpoint can be used. `active`
    /// returns the number of connections to an endpoint.
    pub(crate) fn first(&self, rng: &mut Rng, active: impl Fn(usize) -> u32) -> Option<usize> {
        let group = match &self.groups[..] {
            [] => return None,
            [only] => only,
            groups => {
                let point = fraction(self.turn.fetch_add(1, Ordering::Relaxed));
                let at = groups.partition_point(|group| group.end <= point);
                &groups[at.min(groups.len() - 1)]
            }
        };
        if let [only] = group.members[..] {
            return Some(only as usize);
        }
        Some(match self.policy {
            LbPolicy::LeastRequest { choice_count } => group.least(choice_count, rng, active),
            LbPolicy::Random => group.members[rng.usize(..group.members.len())] as usize,
            LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => group.at(rng.u64(..group.total())),
            _ => group.next(),
        })
    }

    /// Returns the index of the endpoint to try after others have failed: one of the endpoints that are not `excluded`
    /// with the best rank, chosen randomly by weight. `None` if no endpoint remains.
    pub(crate) fn after(&self, excluded: impl Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
        let left = || {
            let all = self.members.iter().enumerate().filter(|(index, _)| !excluded(*index));
            all.filter_map(|(index, member)| Some((member.rank?, index, member.weight.max(1))))
        };
        let best = left().map(|(rank, ..)| rank).min()?;
        let tier = || left().filter(|(rank, ..)| *rank == best);
        let total = tier().fold(0_u64, |total, (.., weight)| total.saturating_add(weight));
        let mut point = rng.u64(..total);
        tier()
            .find(|(.., weight)| {
                let here = point < *weight;
                point = point.saturating_sub(*weight);
                here
            })
            .map(|(_, index, _)| index)
    }

    /// Returns the number of endpoints that connections may try.
    pub(crate) fn usable(&self) -> usize {
        self.left(|_| false)
    }

    /// Returns the number of endpoints that connections may try and that are not `excluded`.
    pub(crate) fn left(&self, excluded: impl Fn(usize) -> bool) -> usize {
        let usable = self.members.iter().enumerate().filter(|(_, member)| member.rank.is_some());
        usable.filter(|(index, _)| !excluded(*index)).count()
    }

    /// Returns the position of an endpoint in the order of attempts.
    pub(crate) fn pick_order(&self, index: usize) -> PickOrder {
        match self.members[index] {
            Member { rank: None, .. } => PickOrder::Excluded,
            Member { share, .. } if share > 0.0 => PickOrder::First { share },
            Member { rank: Some((true, ..)), .. } => PickOrder::Later(DeferReason::FailedRecently),
            Member { rank: Some((false, _, true)), .. } => PickOrder::Later(DeferReason::Degraded),
            Member { rank: Some(_), .. } => PickOrder::Later(DeferReason::Priority),
        }
    }

    /// Adds the groups of one priority from which the first endpoint is chosen. `here` contains its endpoints, sorted by
    /// locality.
    fn first_of(
        &mut self,
        candidates: &[Candidate],
        here: &[usize],
        level: &Level,
        weighted: bool,
        rng: &mut Rng,
    ) {
        let weight = |index: usize| self.members[index].weight;
        for (degraded, load) in [(false, level.load), (true, level.degraded_load)] {
            if load <= 0.0 {
                continue;
            }
            let class = |candidate: &Candidate| match candidate.health {
                HostHealth::Degraded => level.panic || degraded,
                HostHealth::Healthy => !degraded,
                HostHealth::Unhealthy => level.panic && !degraded,
            };
            let is_member = |index: &usize| class(&candidates[*index]);
            let is_chosen = |index: &usize| is_member(index) && !candidates[*index].recently_failed;
            if !weighted || here.iter().all(|index| candidates[*index].locality_weight == 0) {
                let members = here.iter().copied().filter(is_chosen);
                self.groups.extend(Group::new(members, weight, load, rng));
                continue;
            }
            let localities = || here.chunk_by(|a, b| candidates[*a].locality == candidates[*b].locality);
            let share = |locality: &[usize]| {
                let usable = locality.iter().copied().filter(is_member).count() as f64;
                let available = (usable * OVERPROVISIONING / 100.0 / locality.len() as f64).min(1.0);
                f64::from(candidates[locality[0]].locality_weight) * available
            };
            let total: f64 = localities().map(share).sum();
            for locality in localities() {
                let load = load * share(locality) / total;
                if load > 0.0 {
                    let members = locality.iter().copied().filter(is_chosen);
                    self.groups.extend(Group::new(members, weight, load, rng));
                }
            }
        }
    }

    /// Adds a group of the endpoints with the best rank. This group is needed if all usable endpoints failed recently,
    /// because then no other group exists.
    fn best_tier(&mut self, rng: &mut Rng) {
        let best = self.members.iter().filter_map(|member| member.rank).min();
        let of_tier = |(_, member): &(usize, &Member)| member.rank.is_some() && member.rank == best;
        let members = self.members.iter().enumerate().filter(of_tier).map(|(index, _)| index);
        self.groups.extend(Group::new(members, |index| self.members[index].weight, 1.0, rng));
    }

    /// Converts the load of each group to a cumulative share of the total load, and computes the share of connections
    /// that try each member first.
    fn lay_out(&mut self) {
        let total: f64 = self.groups.iter().map(|group| group.end).sum();
        let mut end = 0.0;
        let random = matches!(self.policy, LbPolicy::Random);
        for group in &mut self.groups {
            let share = group.end / total;
            end += share;
            group.end = end;
            let mut before = 0;
            for (index, upto) in group.members.iter().zip(&group.ends) {
                let part = match random {
                    true => 1.0 / group.members.len() as f64,
                    false => (upto - before) as f64 / group.total() as f64,
                };
                self.members[*index as usize].share = share * part;
                before = *upto;
            }
        }
    }
}

/// The position of an endpoint in the order of attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PickOrder {
    /// The endpoint is eligible for the first attempt. `share` is the fraction of connections that try it first.
    First { share: f64 },
    /// The endpoint is tried after others have failed.
    Later(DeferReason),
    /// Connections never try the endpoint.
    Excluded,
}

/// The reason why an endpoint is not eligible for the first attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DeferReason {
    Degraded,
    FailedRecently,
    Priority,
}

fn rank(candidate: &Candidate, levels: &[Level]) -> Option<Rank> {
    let level = || levels.binary_search_by_key(&candidate.priority, |level| level.priority);
    let panic = || level().is_ok_and(|at| levels[at].panic);
    let degraded = match candidate.health {
        HostHealth::Healthy => false,
        HostHealth::Degraded => !panic(),
        HostHealth::Unhealthy if panic() => false,
        HostHealth::Unhealthy => return None,
    };
    Some((candidate.recently_failed, candidate.priority, degraded))
}

fn weight(candidate: &Candidate, has_slow_start: bool) -> u64 {
    let weight = u64::from(candidate.weight.max(1));
    if !has_slow_start {
        return weight;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let slow_start_factor =
        (candidate.slow_start_factor.clamp(0.0, 1.0) * SLOW_START_RESOLUTION as f64) as u64;
    weight * slow_start_factor.max(1)
}

/// Returns the fractional part, from 0 to 1, of `turn` divided by the golden ratio. The results for successive values
/// of `turn` are spread evenly.
fn fraction(turn: u64) -> f64 {
    // 2^64 / φ. A wrapping multiplication leaves the fractional part, in units of 2^-64.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    turn.wrapping_mul(STEP) as f64 / 18_446_744_073_709_551_616.0
}

#[cfg(test)]
mod tests;
