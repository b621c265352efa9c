//! The name table (NDS) as an immutable value.
//!
//! Decoding allocates no memory per name: all names are in one string, addresses are parsed once, and a hash index
//! finds the entries. The encoded message needs more than twice as much memory as the table, and is not retained.
//! Alternate names (`forecast.weather` for `forecast.weather.svc.cluster.local`) are not stored: the crate
//! `mesh-resolver` derives them from [`NameEntry::short_name`] and [`NameEntry::namespace`].

mod build;
mod changes;
mod encode;
mod entry;
mod former;
mod hasher;

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr};

use hashbrown::HashTable;

pub use self::entry::{NameEntry, Registry};
pub(crate) use self::hasher::NameHasher;
use self::{build::Builder, changes::Changes, entry::Record, former::FormerNames};
use crate::protobuf::{Fields, Malformed};

/// The bytes of a name table are not a valid `NameTable` message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a NameTable message: {0}")]
pub struct InvalidNameTable(&'static str);

impl From<Malformed> for InvalidNameTable {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.reason())
    }
}

/// The names of the mesh, as istiod last pushed them to this workload.
///
/// Names are lower-case without a trailing dot. The contents are the `NameTable` message of `istio.networking.nds.v1`,
/// which istiod generates for each proxy.
#[derive(Clone, Default)]
pub struct NameTable {
    text: Box<str>,
    /// The records in the order of the message.
    records: Box<[Record]>,
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
    index: HashTable<Slot>,
    hasher: NameHasher,
    generation: u64,
    changes: Changes,
    former: FormerNames,
}

/// The positions of a record and of its name. Both are in the index, so that the two memory accesses do not depend on
/// each other.
#[derive(Clone, Copy, Debug)]
struct Slot {
    record: u32,
    text: u32,
}

impl NameTable {
    /// Decodes a `NameTable` message.
    ///
    /// Entries without a valid address are omitted, as in Istio's DNS proxy (`pkg/dns/client/dns.go`,
    /// `UpdateLookupTable`): such a name is unknown. Names of more than 255 bytes are omitted, because a DNS question
    /// cannot contain them (RFC 1035 §2.3.4).
    ///
    /// # Errors
    ///
    /// The bytes are not a `NameTable` message, or are longer than 4 GiB.
    #[cfg(any(test, fuzzing, feature = "test-util"))]
    pub fn decode(wire: &[u8]) -> Result<Self, InvalidNameTable> {
        Self::from_wire(wire, NameHasher::with_seed(fastrand::u64(..)))
    }

    pub(crate) fn from_wire(wire: &[u8], hasher: NameHasher) -> Result<Self, InvalidNameTable> {
        Self::from_fields(wire, 1, hasher)
    }

    /// Decodes a name table from the fields of any protobuf message that have this field number. Each of these fields
    /// is an entry of the table.
    pub(crate) fn from_fields(
        wire: &[u8],
        number: u64,
        hasher: NameHasher,
    ) -> Result<Self, InvalidNameTable> {
        let mut builder = Builder::new(wire, hasher)?;
        for field in Fields(wire) {
            match field? {
                (found, entry) if found == number => builder.entry(entry)?,
                _ => {}
            }
        }
        builder.finish()
    }

    /// Returns this table as the successor of `previous`, with the changed names and the next
    /// [`generation`](Self::generation). Returns `None` if both tables have the same contents.
    #[must_use]
    pub fn after(self, previous: &Self) -> Option<Self> {
        let first = previous.is_empty() && !self.is_empty();
        let changes = if first { Changes::All } else { Changes::between(previous, &self) };
        (!changes.is_none()).then(|| {
            let former = previous.former.with(changes.removed());
            Self { changes, former, generation: previous.generation + 1, ..self }
        })
    }

    /// Returns whether this table or an earlier one of the client contains exactly this name, which must be lower-case
    /// without a trailing dot. The table from the state directory is the first one. About 65 000 removed names are
    /// remembered, the most recently removed ones.
    #[must_use]
    pub fn was_listed(&self, name: &str) -> bool {
        self.get(name).is_some() || self.former.contains(name)
    }

    /// Returns the number of different tables that the client has received so far; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the names that are new, removed or have other addresses than in the previous
    /// [`generation`](Self::generation). For the first table, returns all names. A reader that has missed a generation
    /// must compare all names.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        self.changes.names(self)
    }

    /// Returns the entry of exactly this name, which must be lower-case without a trailing dot. A name that is only an
    /// alternate name, or only matches a wildcard entry, is not found.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<NameEntry<'_>> {
        self.position(name).map(|at| self.entry(at))
    }

    /// Returns the number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether the table has no names.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns all entries in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = NameEntry<'_>> {
        self.records.iter().map(|record| NameEntry::new(self, record))
    }

    /// Returns the position of the record of exactly this name.
    #[inline]
    fn position(&self, name: &str) -> Option<usize> {
        let (text, name) = (self.text.as_bytes(), name.as_bytes());
        let same = |slot: &Slot| {
            let begins = text.get(slot.text as usize..).is_some_and(|rest| rest.starts_with(name));
            begins && usize::from(self.records[slot.record as usize].name_len) == name.len()
        };
        self.index.find(self.hasher.hash(name), same).map(|slot| slot.record as usize)
    }

    #[inline]
    fn entry(&self, at: usize) -> NameEntry<'_> {
        NameEntry::new(self, &self.records[at])
    }
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTable").field("names", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
