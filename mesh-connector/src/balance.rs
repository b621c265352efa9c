//! Which endpoint next: priority, health, weights, the cluster's policy, chance.
//!
//! A [`Plan`] is made from one look at a cluster's endpoints and says whom a connection tries first, and whom after that.
//! Each connection chooses anew, so that gateways and remote clusters share the load as the control plane weighs them;
//! each endpoint is offered at most once per connection.
//!
//! The first choice follows Envoy (`source/extensions/load_balancing_policies/common/load_balancer_impl.cc`): a priority
//! whose healthy endpoints, times 1.4, do not make up the whole passes the rest on to the next; where all of them
//! together are not enough, a priority with a smaller share of healthy endpoints than the panic threshold uses all it
//! has; degraded endpoints are used for what healthy ones cannot carry; a locality counts by its weight where the cluster
//! says so. What follows a failed attempt is this client's own: the others of the same priority, then those of the next.
//! Endpoints that failed lately come after all others.
//!
//! Hashes (`RING_HASH`, `MAGLEV`) are of something in a request, which a client of connections does not have: by chance,
//! as with Envoy where a request has no hash.

mod group;
mod levels;

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use nds_client::resources::cluster::{LbPolicy, LoadBalancing};

use self::{
    group::Group,
    levels::{Level, OVERPROVISIONING, levels},
};

/// The steps in which an endpoint grows to its weight.
const GROWTH: u64 = 1000;

/// One endpoint, as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) priority: u32,
    /// Which locality it is in: a number that those of one locality share.
    pub(crate) locality: usize,
    pub(crate) locality_weight: u32,
    pub(crate) weight: u32,
    pub(crate) standing: Standing,
    /// Whether it failed lately.
    pub(crate) deferred: bool,
    /// The part of its weight that it has grown to (slow start), 0 to 1.
    pub(crate) grown: f64,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Healthy,
    Degraded,
    /// Unhealthy, or ejected: in panic only.
    Out,
}

/// Lower is better: whether the endpoint failed lately, its priority, whether it is degraded.
type Rank = (bool, u32, bool);

/// Whom a connection tries first, and after that. The order of candidates is that of the endpoints.
#[derive(Debug)]
pub(crate) struct Plan {
    policy: LbPolicy,
    members: Vec<Member>,
    /// Those that a connection chooses from first.
    groups: Vec<Group>,
    turn: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// `None`: not to be dialled.
    rank: Option<Rank>,
    weight: u64,
    /// The share of connections that choose it first.
    share: f64,
}

impl Plan {
    pub(crate) fn new(candidates: &[Candidate], settings: &LoadBalancing, rng: &mut Rng) -> Self {
        let levels = levels(candidates, settings.healthy_panic_threshold);
        let grows = settings.slow_start.is_some();
        let member = |candidate: &Candidate| Member {
            rank: rank(candidate, &levels),
            weight: weight(candidate, grows),
            share: 0.0,
        };
        let members = candidates.iter().map(member).collect();
        let turn = AtomicU64::new(rng.u64(..));
        let mut plan = Self { policy: settings.policy, members, groups: Vec::new(), turn };
        for level in &levels {
            plan.first_of(candidates, level, settings.locality_weighted, rng);
        }
        if plan.groups.is_empty() {
            plan.best_tier(rng);
        }
        plan.lay_out();
        plan
    }

    /// Whom to try first. `active` is how many connections an endpoint has.
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
        Some(match self.policy {
            LbPolicy::LeastRequest { choice_count } => group.least(choice_count, rng, active),
            LbPolicy::Random => group.members[rng.usize(..group.members.len())] as usize,
            LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => group.at(rng.u64(..group.total())),
            _ => group.next(),
        })
    }

    /// Whom to try after these have failed: one of the best that are left, by weight and chance.
    pub(crate) fn after(&self, tried: &[usize], rng: &mut Rng) -> Option<usize> {
        let left = || {
            let all = self.members.iter().enumerate().filter(|(index, _)| !tried.contains(index));
            all.filter_map(|(index, member)| Some((member.rank?, index, member.weight.max(1))))
        };
        let best = left().map(|(rank, ..)| rank).min()?;
        let tier = || left().filter(|(rank, ..)| *rank == best);
        let total: u64 = tier().map(|(.., weight)| weight).sum();
        let mut point = rng.u64(..total);
        tier()
            .find(|(.., weight)| {
                let here = point < *weight;
                point = point.saturating_sub(*weight);
                here
            })
            .map(|(_, index, _)| index)
    }

    /// How many may be dialled.
    pub(crate) fn usable(&self) -> usize {
        self.members.iter().filter(|member| member.rank.is_some()).count()
    }

    /// Where an endpoint stands among the others.
    pub(crate) fn place(&self, index: usize) -> Place {
        match self.members[index] {
            Member { rank: None, .. } => Place::Out,
            Member { share, .. } if share > 0.0 => Place::First { share },
            Member { rank: Some((true, ..)), .. } => Place::Later(Why::FailedLately),
            Member { rank: Some((false, _, true)), .. } => Place::Later(Why::Degraded),
            Member { rank: Some(_), .. } => Place::Later(Why::Priority),
        }
    }

    /// The groups of one priority that a connection chooses from first.
    fn first_of(&mut self, candidates: &[Candidate], level: &Level, weighted: bool, rng: &mut Rng) {
        let weight = |index: usize| self.members[index].weight;
        for (degraded, load) in [(false, level.load), (true, level.degraded_load)] {
            if load <= 0.0 {
                continue;
            }
            let class = |candidate: &Candidate| match candidate.standing {
                Standing::Degraded => level.panic || degraded,
                Standing::Healthy => !degraded,
                Standing::Out => level.panic && !degraded,
            };
            let of_level = |(_, candidate): &(usize, &Candidate)| candidate.priority == level.priority;
            let chosen = |(_, candidate): &(usize, &Candidate)| class(candidate) && !candidate.deferred;
            let all = || candidates.iter().enumerate().filter(of_level);
            let mut localities: Vec<_> = all().map(|(_, one)| (one.locality, one.locality_weight)).collect();
            localities.sort_unstable();
            localities.dedup();
            let weighted = weighted && localities.iter().any(|(_, weight)| *weight > 0);
            if !weighted {
                let members = all().filter(chosen).map(|(index, _)| index);
                self.groups.extend(Group::new(members, weight, load, rng));
                continue;
            }
            let share = |(locality, weight): (usize, u32)| {
                let here = || all().filter(|(_, candidate)| candidate.locality == locality);
                let usable = here().filter(|(_, candidate)| class(candidate)).count() as f64;
                let available = (usable * OVERPROVISIONING / 100.0 / here().count() as f64).min(1.0);
                f64::from(weight) * available
            };
            let total: f64 = localities.iter().copied().map(share).sum();
            for locality in localities {
                let load = load * share(locality) / total;
                let here = all().filter(|(_, candidate)| candidate.locality == locality.0).filter(chosen);
                if load > 0.0 {
                    self.groups.extend(Group::new(here.map(|(index, _)| index), weight, load, rng));
                }
            }
        }
    }

    /// Where nobody is left to be first who has not failed lately: those of the best rank.
    fn best_tier(&mut self, rng: &mut Rng) {
        let best = self.members.iter().filter_map(|member| member.rank).min();
        let of_tier = |(_, member): &(usize, &Member)| member.rank.is_some() && member.rank == best;
        let members = self.members.iter().enumerate().filter(of_tier).map(|(index, _)| index);
        self.groups.extend(Group::new(members, |index| self.members[index].weight, 1.0, rng));
    }

    /// Turns the groups' loads into shares of the whole, and notes each member's.
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

/// Where an endpoint stands among the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// Among those that a connection chooses from first: this share of connections chooses it.
    First { share: f64 },
    /// After others have failed.
    Later(Why),
    /// Not dialled at all.
    Out,
}

/// Why an endpoint is not among the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    Degraded,
    FailedLately,
    Priority,
}

fn rank(candidate: &Candidate, levels: &[Level]) -> Option<Rank> {
    let panic = || levels.iter().any(|level| level.panic && level.priority == candidate.priority);
    let degraded = match candidate.standing {
        Standing::Healthy => false,
        Standing::Degraded => !panic(),
        Standing::Out if panic() => false,
        Standing::Out => return None,
    };
    Some((candidate.deferred, candidate.priority, degraded))
}

fn weight(candidate: &Candidate, grows: bool) -> u64 {
    let weight = u64::from(candidate.weight.max(1));
    if !grows {
        return weight;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let grown = (candidate.grown.clamp(0.0, 1.0) * GROWTH as f64) as u64;
    weight * grown.max(1)
}

/// 0 to 1: the fractional part of a multiple of the golden ratio.
fn fraction(turn: u64) -> f64 {
    // 2^64 / φ: the fractional part is what does not overflow.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    turn.wrapping_mul(STEP) as f64 / 18_446_744_073_709_551_616.0
}

#[cfg(test)]
mod tests;
