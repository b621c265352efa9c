//! The hash function of the index.

use std::hash::BuildHasher as _;

use foldhash::{SharedSeed, fast::SeedableRandomState};

/// The hash function of the index of a name table.
///
/// Tenants of the mesh choose names. If the hash function were known, a tenant could choose names with equal hashes,
/// and each lookup and each push would compare all of them. Therefore the function depends on a random seed.
#[derive(Clone, Debug)]
pub(crate) struct NameHasher(SeedableRandomState);

impl NameHasher {
    /// Creates the hash function for a random seed.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self(SeedableRandomState::with_seed(seed, SharedSeed::global_random()))
    }

    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(bytes)
    }
}

/// The hash function of an empty table, which needs no seed.
impl Default for NameHasher {
    fn default() -> Self {
        Self(SeedableRandomState::fixed())
    }
}
