//! The differences between two consecutive tables.

use super::{
    NameTable,
    entry::{NameEntry, Record},
};

/// The names that differ between a table and its predecessor.
#[derive(Clone, Debug, Default)]
pub(super) enum Changes {
    /// All names, because there was no previous table.
    #[default]
    All,
    /// Some names.
    Some {
        /// The positions of the records of new and changed names.
        changed: Box<[u32]>,
        /// The removed names.
        removed: Box<[Box<str>]>,
    },
}

impl Changes {
    /// Compares two tables. istiod sends the names in the same order each time. Therefore both tables are traversed
    /// together, and a name is looked up only where the orders differ.
    pub(super) fn between(previous: &NameTable, next: &NameTable) -> Self {
        let (mut changed, mut expected, mut known) = (Vec::new(), 0, 0);
        let mut texts = Texts::new(previous, next);
        for (at, entry) in (0u32..).zip(next.iter()) {
            let mut same =
                |at| previous.records.get(at).is_some_and(|_| texts.is_same(previous.entry(at), entry));
            if !same(expected) {
                let Some(found) = previous.position(entry.name()) else {
                    changed.push(at);
                    continue;
                };
                expected = found;
                if !same(found) {
                    changed.push(at);
                }
            }
            expected += 1;
            known += 1;
        }
        let all_known = known == previous.len();
        let gone = previous.iter().filter(|entry| !all_known && next.get(entry.name()).is_none());
        Self::Some { changed: changed.into(), removed: gone.map(|entry| entry.name().into()).collect() }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Some { changed, removed } if changed.is_empty() && removed.is_empty())
    }

    /// Returns the removed names.
    pub(super) fn removed(&self) -> &[Box<str>] {
        match self {
            Self::All => &[],
            Self::Some { removed, .. } => removed,
        }
    }

    pub(super) fn names<'a>(&'a self, table: &'a NameTable) -> impl Iterator<Item = &'a str> {
        let (all, changed, removed): (_, &[u32], &[Box<str>]) = match self {
            Self::All => (Some(table.iter()), &[], &[]),
            Self::Some { changed, removed } => (None, changed, removed),
        };
        let changed = changed.iter().map(|at| table.entry(*at as usize));
        let there = all.into_iter().flatten().chain(changed).map(|entry| entry.name());
        there.chain(removed.iter().map(|name| &**name))
    }
}

/// The texts of two tables. Where both tables contain the same names in the same order, their bytes are equal too, so
/// that many names can be compared together.
struct Texts<'a> {
    previous: &'a [u8],
    next: &'a [u8],
    /// The start of the known equal bytes in both texts, and their number.
    equal: (usize, usize, usize),
}

/// The number of bytes in one comparison.
const BLOCK: usize = 64;
/// The maximum number of blocks that are compared in advance, beyond the texts of the current names.
const BLOCKS: usize = 64;

impl<'a> Texts<'a> {
    fn new(previous: &'a NameTable, next: &'a NameTable) -> Self {
        Self { previous: previous.text.as_bytes(), next: next.text.as_bytes(), equal: (0, 0, 0) }
    }

    #[inline]
    fn is_same(&mut self, previous: NameEntry<'_>, next: NameEntry<'_>) -> bool {
        let (one, other) = (previous.record(), next.record());
        one.layout() == other.layout() && self.has_same_bytes(one, other) && previous.has_addresses_of(next)
    }

    #[inline]
    fn has_same_bytes(&mut self, one: &Record, other: &Record) -> bool {
        let (at_one, at_other, len) = (one.at as usize, other.at as usize, one.len());
        self.is_in_equal(at_one, at_other, len) || {
            self.compare(at_one, at_other);
            self.is_in_equal(at_one, at_other, len)
                || self.previous[at_one..at_one + len] == self.next[at_other..at_other + len]
        }
    }

    #[inline]
    fn is_in_equal(&self, one: usize, other: usize, len: usize) -> bool {
        let (from_one, from_other, equal) = self.equal;
        other >= from_other
            && one.wrapping_sub(from_one) == other - from_other
            && other + len <= from_other + equal
    }

    /// Compares the bytes that start at these positions and stores the equal ones in `equal`.
    fn compare(&mut self, one: usize, other: usize) {
        let (previous, _) = self.previous[one..].as_chunks::<BLOCK>();
        let (next, _) = self.next[other..].as_chunks::<BLOCK>();
        let blocks = previous.iter().zip(next).take(BLOCKS).take_while(|(one, other)| one == other).count();
        self.equal = (one, other, blocks * BLOCK);
    }
}
