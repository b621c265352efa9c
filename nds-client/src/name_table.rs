//! The name table: what istiod says about names, as one immutable value.
//!
//! A table is an index over the bytes that came from the wire. Names and texts stay where they are in those bytes;
//! only addresses are parsed, because parsing them at each lookup costs more than the lookup itself. Alternate
//! names (`forecast.weather` for `forecast.weather.svc.cluster.local`) are not stored: they are the resolver's
//! business, computed at lookup from [`NameEntry::short_name`] and [`NameEntry::namespace`].

mod wire;

use std::{
    fmt,
    hash::BuildHasher as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    slice,
};

use bytes::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table};

pub use self::wire::InvalidNameTable;
use self::wire::{NameInfo, Span};

/// The names of a mesh as istiod last pushed them to this workload.
///
/// Keys are lower-case and have no trailing dot. The content is Istio's NDS: `NameTable` of
/// `istio.networking.nds.v1`, which istiod builds per proxy.
#[derive(Clone, Default)]
pub struct NameTable {
    wire: Bytes,
    records: Vec<Record>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    index: HashTable<u32>,
}

/// One name, in 28 bytes.
#[derive(Clone, Copy, Debug)]
struct Record {
    key: Span,
    info: Span,
    /// The IPv4 address where there is one, which then needs no further look into memory; of several the number of the
    /// first in the table's list, as bits.
    v4: Ipv4Addr,
    v6: u32,
    v4_count: u16,
    v6_count: u16,
}

const HASHER: FixedState = FixedState::with_seed(0);
const KUBERNETES: &str = "Kubernetes";

impl NameTable {
    /// Builds a table from the bytes of a `NameTable` message, in one pass.
    ///
    /// Entries without a usable address are left out, as Istio's DNS proxy does (`pkg/dns/client/dns.go`,
    /// `UpdateLookupTable`): such a name is unknown, not empty.
    ///
    /// # Errors
    ///
    /// The bytes are not a `NameTable` message, or are longer than 4 GiB.
    pub fn decode(wire: Bytes) -> Result<Self, InvalidNameTable> {
        let wire = lower_cased(wire)?;
        let mut table = Self { wire: wire.clone(), ..Self::default() };
        for entry in wire::entries(&wire)? {
            let (key, info) = entry?;
            table.insert(&wire, key, info)?;
        }
        table.records.shrink_to_fit();
        table.v4.shrink_to_fit();
        table.v6.shrink_to_fit();
        Ok(table)
    }

    /// The entry of exactly this name: lower-case, without a trailing dot, no alternates, no wildcards.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<NameEntry<'_>> {
        let wire = &self.wire[..];
        let same = |&at: &u32| self.records[at as usize].key.bytes(wire) == name.as_bytes();
        let at = self.index.find(HASHER.hash_one(name.as_bytes()), same)?;
        Some(NameEntry { table: self, record: &self.records[*at as usize] })
    }

    /// How many names the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the table has no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = NameEntry<'_>> {
        self.records.iter().map(|record| NameEntry { table: self, record })
    }

    fn insert(&mut self, wire: &[u8], key: Span, info: Span) -> Result<(), InvalidNameTable> {
        let fields = NameInfo::parse(wire, info)?;
        let kubernetes = fields.registry == KUBERNETES;
        // Istio's proxy gives a Kubernetes entry with a trailing dot no name at all (`buildAlternateHosts`).
        if kubernetes && key.text(wire)?.ends_with('.') {
            return Ok(());
        }
        let (v4, v6) = (self.v4.len(), self.v6.len());
        for ip in fields.addresses(wire) {
            match ip? {
                Some(IpAddr::V4(ip)) => self.v4.push(ip),
                Some(IpAddr::V6(ip)) => self.v6.push(ip),
                None => {}
            }
        }
        let (v4_count, v6_count) = (self.v4.len() - v4, self.v6.len() - v6);
        if v4_count + v6_count == 0 {
            return Ok(());
        }
        let v4 = match self.v4[v4..] {
            [_] => self.v4.pop().unwrap_or(Ipv4Addr::UNSPECIFIED),
            _ => Ipv4Addr::from_bits(wire::offset(v4)?),
        };
        let record = Record {
            key,
            info,
            v4,
            v6: wire::offset(v6)?,
            v4_count: u16::try_from(v4_count).unwrap_or(u16::MAX),
            v6_count: u16::try_from(v6_count).unwrap_or(u16::MAX),
        };
        self.add(wire, record)?;
        if kubernetes {
            for alternate in fields.alt_hosts(wire) {
                self.add(wire, Record { key: alternate?, ..record })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, wire: &[u8], record: Record) -> Result<(), InvalidNameTable> {
        let record = Record { key: record.key.without_trailing_dot(wire), ..record };
        let name = record.key.bytes(wire);
        let next = wire::offset(self.records.len())?;
        let records = &mut self.records;
        let entry = self.index.entry(
            HASHER.hash_one(name),
            |&at| records[at as usize].key.bytes(wire) == name,
            |&at| HASHER.hash_one(records[at as usize].key.bytes(wire)),
        );
        match entry {
            // A map on the wire may name a key twice: the last one counts.
            hash_table::Entry::Occupied(slot) => {
                let at = *slot.get() as usize;
                records[at] = record;
            }
            hash_table::Entry::Vacant(slot) => {
                slot.insert(next);
                records.push(record);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTable").field("names", &self.len()).finish_non_exhaustive()
    }
}

/// Istio's proxy compares names in lower case. istiod sends them so; where it does not, the bytes are changed here,
/// in place and in a copy, so that every span keeps its meaning.
fn lower_cased(wire: Bytes) -> Result<Bytes, InvalidNameTable> {
    let upper_case = |span: &Span| span.bytes(&wire).iter().any(u8::is_ascii_uppercase);
    let mut spans = Vec::new();
    for entry in wire::entries(&wire)? {
        let (key, info) = entry?;
        spans.extend(Some(key).filter(upper_case));
        for alternate in NameInfo::parse(&wire, info)?.alt_hosts(&wire) {
            spans.extend(Some(alternate?).filter(upper_case));
        }
    }
    if spans.is_empty() {
        return Ok(wire);
    }
    let mut copy = BytesMut::from(&wire[..]);
    for span in spans {
        copy[span.range()].make_ascii_lowercase();
    }
    Ok(copy.freeze())
}

/// One name of a [`NameTable`].
#[derive(Clone, Copy)]
pub struct NameEntry<'a> {
    table: &'a NameTable,
    record: &'a Record,
}

/// Where istiod knows a name from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Registry {
    /// A ServiceEntry, or anything else that is not a Kubernetes service.
    External,
    /// A Kubernetes service of some cluster of the mesh.
    Kubernetes,
}

impl<'a> NameEntry<'a> {
    /// The name: lower-case, no trailing dot; `*.x` for a wildcard.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.record.key.text(&self.table.wire).unwrap_or_default()
    }

    /// The IPv4 addresses, in istiod's order.
    #[must_use]
    pub fn ipv4(&self) -> &'a [Ipv4Addr] {
        match usize::from(self.record.v4_count) {
            1 => slice::from_ref(&self.record.v4),
            count => {
                let start = self.record.v4.to_bits() as usize;
                &self.table.v4[start..start + count]
            }
        }
    }

    /// The IPv6 addresses, in istiod's order.
    #[must_use]
    pub fn ipv6(&self) -> &'a [Ipv6Addr] {
        let start = self.record.v6 as usize;
        &self.table.v6[start..start + usize::from(self.record.v6_count)]
    }

    /// All addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let v4 = self.ipv4().iter().copied().map(IpAddr::V4);
        v4.chain(self.ipv6().iter().copied().map(IpAddr::V6))
    }

    /// Where istiod knows the name from.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.service().2
    }

    /// The first part of the name within its namespace: `forecast`, or `mysql-0.mysql` for a pod of a headless
    /// service. Empty where istiod gives none.
    #[must_use]
    pub fn short_name(&self) -> &'a str {
        self.info().short_name
    }

    /// The Kubernetes namespace. Empty where istiod gives none.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        self.info().namespace
    }

    /// [`short_name`](Self::short_name), [`namespace`](Self::namespace) and [`registry`](Self::registry), for the price
    /// of one of them.
    #[must_use]
    pub fn service(&self) -> (&'a str, &'a str, Registry) {
        let info = self.info();
        let registry = if info.registry == KUBERNETES { Registry::Kubernetes } else { Registry::External };
        (info.short_name, info.namespace, registry)
    }

    fn info(&self) -> NameInfo<'a> {
        // Checked when the table was built.
        NameInfo::parse(&self.table.wire, self.record.info).unwrap_or_default()
    }
}

impl fmt::Debug for NameEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameEntry")
            .field("name", &self.name())
            .field("ipv4", &self.ipv4())
            .field("ipv6", &self.ipv6())
            .field("registry", &self.registry())
            .finish()
    }
}

#[cfg(test)]
mod tests;
