//! The name table: what istiod says about names, as one immutable value.
//!
//! A table is made of the bytes from the wire without an allocation per name: the names stand one after
//! the other in one text, addresses are parsed once, and an index finds them. The bytes themselves are not kept; they are
//! more than twice as long. Alternate names (`forecast.weather` for `forecast.weather.svc.cluster.local`) are not stored:
//! they are the resolver's business, computed at lookup from [`NameEntry::short_name`] and [`NameEntry::namespace`].

mod build;
mod changes;
mod encode;
mod entry;

use std::{fmt, hash::BuildHasher as _, net::Ipv4Addr, net::Ipv6Addr};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

pub use self::entry::{NameEntry, Registry};
use self::{build::Builder, changes::Changes, entry::Record};
use crate::protobuf::{Fields, Malformed};

/// The bytes of a pushed name table are not a `NameTable` message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a NameTable message: {0}")]
pub struct InvalidNameTable(&'static str);

impl From<Malformed> for InvalidNameTable {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.reason())
    }
}

/// The names of a mesh as istiod last pushed them to this workload.
///
/// Keys are lower-case and have no trailing dot. The content is Istio's NDS: `NameTable` of
/// `istio.networking.nds.v1`, which istiod builds per proxy.
#[derive(Clone, Default)]
pub struct NameTable {
    text: Box<str>,
    /// In the order of the wire.
    records: Box<[Record]>,
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
    index: HashTable<Slot>,
    generation: u64,
    changes: Changes,
}

/// Where a name is. Both places are known at once, so that neither waits for the other to come from memory.
#[derive(Clone, Copy, Debug)]
struct Slot {
    record: u32,
    text: u32,
}

const HASHER: FixedState = FixedState::with_seed(0);

impl NameTable {
    /// Builds a table from the bytes of a `NameTable` message.
    ///
    /// Entries without a usable address are left out, as Istio's DNS proxy does (`pkg/dns/client/dns.go`,
    /// `UpdateLookupTable`): such a name is unknown, not empty. So are names of more than 255 bytes, which no DNS
    /// question can hold (RFC 1035 §2.3.4).
    ///
    /// # Errors
    ///
    /// The bytes are not a `NameTable` message, or are longer than 4 GiB.
    #[allow(clippy::needless_pass_by_value, reason = "whoever pushes has no further use for the bytes")]
    pub fn decode(wire: Bytes) -> Result<Self, InvalidNameTable> {
        Self::of_fields(&wire, 1)
    }

    /// From the fields of this number in a message of any kind, each an entry of the table.
    pub(crate) fn of_fields(wire: &[u8], number: u64) -> Result<Self, InvalidNameTable> {
        let mut builder = Builder::new(wire)?;
        for field in Fields(wire) {
            match field? {
                (found, entry) if found == number => builder.entry(entry)?,
                _ => {}
            }
        }
        builder.finish()
    }

    /// This table as the one that follows `previous`: with the names that changed, and the next
    /// [`generation`](Self::generation). `None` where both say the same, so that the previous one can stay in use.
    #[must_use]
    pub fn after(self, previous: &Self) -> Option<Self> {
        let first = previous.is_empty() && !self.is_empty();
        let changes = if first { Changes::All } else { Changes::between(previous, &self) };
        (!changes.is_none()).then(|| Self { changes, generation: previous.generation + 1, ..self })
    }

    /// Counts the tables of a client that differ from the one before; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The names that are new, are gone, or have other addresses than in the table of the
    /// [`generation`](Self::generation) before. Of a first table all names. Who has missed a generation compares
    /// everything.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        self.changes.names(self)
    }

    /// The entry of exactly this name: lower-case, without a trailing dot, no alternates, no wildcards.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<NameEntry<'_>> {
        self.position(name).map(|at| self.entry(at))
    }

    /// How many names the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the table has no name.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = NameEntry<'_>> {
        self.records.iter().map(|record| NameEntry::new(self, record))
    }

    /// Where the record of exactly this name is.
    #[inline]
    fn position(&self, name: &str) -> Option<usize> {
        let (text, name) = (self.text.as_bytes(), name.as_bytes());
        let same = |slot: &Slot| {
            let begins = text.get(slot.text as usize..).is_some_and(|rest| rest.starts_with(name));
            begins && usize::from(self.records[slot.record as usize].name_len) == name.len()
        };
        self.index.find(hash(name), same).map(|slot| slot.record as usize)
    }

    #[inline]
    fn entry(&self, at: usize) -> NameEntry<'_> {
        NameEntry::new(self, &self.records[at])
    }
}

#[inline]
fn hash(name: &[u8]) -> u64 {
    HASHER.hash_one(name)
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTable").field("names", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
