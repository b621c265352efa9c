//! Random numbers: the same seed generates the same mesh.

use std::ops::RangeInclusive;

/// The random number generator.
#[derive(Debug)]
pub(super) struct Draw(fastrand::Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(super) fn number(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.0.u32(range)
    }

    /// Returns true in `share` percent of the calls.
    pub(super) fn percent(&mut self, share: u32) -> bool {
        self.0.u32(0..100) < share
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(0..all.len())]
    }

    /// Returns each item with a probability of `share` percent, in order.
    pub(super) fn some_of<T: Copy>(&mut self, all: &[T], share: u32) -> Vec<T> {
        all.iter().copied().filter(|_| self.percent(share)).collect()
    }
}
