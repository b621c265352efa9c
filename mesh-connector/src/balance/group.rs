//! A group of endpoints and the policies to choose one of them.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

/// The fractional part of the golden ratio. Its multiples are spread evenly over 0 to 1.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// A group of endpoints with the same priority and, if locality weights apply, the same locality.
#[derive(Debug)]
pub(super) struct Group {
    /// The sum of the shares of this group and of the groups before it. Until [`Plan`](super::Plan) has computed the
    /// shares, this is the load of the group.
    pub(super) end: f64,
    pub(super) members: Vec<u32>,
    /// The cumulative weights of the members, divided by their greatest common divisor.
    pub(super) ends: Vec<u64>,
    /// The distance between consecutive picks of the weighted round robin, in the range from 0 to the total weight. It
    /// is coprime with the total weight, so that each round visits every point exactly once.
    step: u64,
    turn: AtomicU64,
}

impl Group {
    /// Creates a group of the endpoints in `chosen`. `None` if `chosen` is empty. `load` is the value of `end` until
    /// the shares are computed.
    pub(super) fn new(
        chosen: impl Iterator<Item = usize>,
        weight: impl Fn(usize) -> u64,
        load: f64,
        rng: &mut Rng,
    ) -> Option<Self> {
        let members: Vec<u32> = chosen.filter_map(|index| u32::try_from(index).ok()).collect();
        let weight_of = |index: &u32| weight(*index as usize);
        let divisor = members.iter().map(weight_of).fold(0, gcd);
        let mut end = 0;
        let mut add = |weight: u64| {
            end = u64::saturating_add(end, weight / divisor);
            end
        };
        let ends: Vec<_> = members.iter().map(|index| add(weight_of(index))).collect();
        let total = *ends.last()?;
        Some(Self { end: load, members, ends, step: step(total), turn: AtomicU64::new(rng.u64(..total)) })
    }

    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(1)
    }

    /// Returns the member at `point` on the scale of cumulative weights.
    pub(super) fn at(&self, point: u64) -> usize {
        self.members[self.ends.partition_point(|end| *end <= point)] as usize
    }

    /// Returns the next member (weighted round robin).
    pub(super) fn next(&self) -> usize {
        let (turn, total) = (self.turn.fetch_add(1, Ordering::Relaxed), u128::from(self.total()));
        let point = u128::from(turn) * u128::from(self.step) % total;
        self.at(u64::try_from(point).unwrap_or_default())
    }

    /// Returns a member with few connections (least request). If all weights are equal, this is the least busy of
    /// `choices` random members. If the weights differ, it is a random member, chosen in proportion to its weight
    /// divided by its connections plus one, as in Envoy's scheduler.
    pub(super) fn least(&self, choices: u32, rng: &mut Rng, active: impl Fn(usize) -> u32) -> usize {
        let of = |at: usize| self.members[at] as usize;
        let count = self.members.len();
        if self.total() == count as u64 {
            let least = |chosen: &mut dyn Iterator<Item = usize>| {
                chosen.min_by_key(|index| active(*index)).unwrap_or_else(|| of(0))
            };
            // The control plane sends any number of choices. If the number of choices is much larger than the group,
            // random members are nearly always all members.
            if choices as usize >= 2 * count {
                let start = rng.usize(..count);
                return least(&mut (0..count).map(|at| of((start + at) % count)));
            }
            return least(&mut (0..choices.max(1)).map(|_| of(rng.usize(..count))));
        }
        let weight = |at: usize| {
            let before = if at == 0 { 0 } else { self.ends[at - 1] };
            (self.ends[at] - before) as f64 / (f64::from(active(of(at))) + 1.0)
        };
        let mut point = rng.f64() * (0..count).map(weight).sum::<f64>();
        let here = |at: &usize| {
            point -= weight(*at);
            point < 0.0
        };
        of((0..count).find(here).unwrap_or(count - 1))
    }
}

/// Returns a step, coprime with `total`, that spreads the picks evenly over the range from 0 to `total`.
fn step(total: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than `total`")]
    let about = (total as f64 * GOLDEN) as u64;
    (about.max(1)..).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
