//! The names that earlier tables contained.

use std::{hash::BuildHasher as _, sync::Arc};

use foldhash::quality::RandomState;
use sidestep_util::bounded_map::BoundedMap;

/// The names that were removed from the table, as hashes. Consecutive tables share one value until a name is removed.
#[derive(Clone, Debug)]
pub(super) struct FormerNames {
    hashes: Arc<BoundedMap<u64, (), foldhash::fast::RandomState>>,
    hasher: RandomState,
}

/// The number of hashes in one generation of the map, which has two.
const CAPACITY: usize = 1 << 15;

impl FormerNames {
    /// Returns these names together with the names in `removed`.
    pub(super) fn with(&self, removed: &[Box<str>]) -> Self {
        let mut all = self.clone();
        if !removed.is_empty() {
            let hashes = Arc::make_mut(&mut all.hashes);
            for name in removed {
                hashes.insert(self.hasher.hash_one(&**name), (), 1);
            }
        }
        all
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.hashes.peek(&self.hasher.hash_one(name)).is_some()
    }
}

impl Default for FormerNames {
    fn default() -> Self {
        Self { hashes: Arc::new(BoundedMap::new(CAPACITY)), hasher: RandomState::default() }
    }
}
