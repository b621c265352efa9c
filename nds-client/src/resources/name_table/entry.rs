//! Entries of the name table.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    slice,
};

use super::NameTable;

/// The record of one name, in 20 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// The position of the name in the text of the table.
    pub(super) at: u32,
    /// The IPv4 address, if the name has exactly one; this saves a memory access. If the name has several, these bits
    /// are the index of the first address in the table's list of IPv4 addresses.
    pub(super) v4: Ipv4Addr,
    /// The index of the first IPv6 address in the table's list of IPv6 addresses.
    pub(super) v6: u32,
    pub(super) v4_count: u16,
    pub(super) v6_count: u16,
    pub(super) name_len: u8,
    pub(super) short_len: u8,
    pub(super) namespace_len: u8,
    pub(super) origin: Origin,
}

/// The registry of a name, and the position of its short name and namespace in the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    pub(super) registry: Registry,
    /// Whether short name and namespace follow the name in the text, because the name does not start with them.
    pub(super) apart: bool,
}

impl Record {
    #[inline]
    pub(super) fn name_bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.at as usize..][..usize::from(self.name_len)]
    }

    /// Returns the length of all texts of the record, which are adjacent.
    #[inline]
    pub(super) fn len(&self) -> usize {
        let service = if self.origin.apart { [self.short_len, self.namespace_len] } else { [0, 0] };
        let [short, namespace] = service.map(usize::from);
        usize::from(self.name_len) + short + namespace
    }

    /// Returns the record without its positions in the texts and lists of the table. Two records with different results
    /// are different. If the results are equal, the texts and lists must be compared.
    #[inline]
    pub(super) fn layout(&self) -> Self {
        let v4 = if self.v4_count == 1 { self.v4 } else { Ipv4Addr::UNSPECIFIED };
        Self { at: 0, v4, v6: 0, ..*self }
    }

    #[inline]
    fn name<'a>(&self, text: &'a str) -> &'a str {
        part(text, self.at as usize, self.name_len)
    }

    fn short_name<'a>(&self, text: &'a str) -> &'a str {
        part(text, self.service_at(), self.short_len)
    }

    fn namespace<'a>(&self, text: &'a str) -> &'a str {
        let dot = usize::from(!self.origin.apart);
        part(text, self.service_at() + usize::from(self.short_len) + dot, self.namespace_len)
    }

    fn service_at(&self) -> usize {
        self.at as usize + if self.origin.apart { usize::from(self.name_len) } else { 0 }
    }
}

#[inline]
fn part(text: &str, at: usize, len: u8) -> &str {
    // The builder guarantees that the range is valid.
    text.get(at..at + usize::from(len)).unwrap_or_default()
}

/// One name of a [`NameTable`].
#[derive(Clone, Copy)]
pub struct NameEntry<'a> {
    table: &'a NameTable,
    record: &'a Record,
}

/// The service registry from which istiod has a name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Registry {
    /// A ServiceEntry or another object that is not a Kubernetes service.
    #[default]
    External,
    /// A Kubernetes service in any cluster of the mesh.
    Kubernetes,
}

impl<'a> NameEntry<'a> {
    #[inline]
    pub(super) fn new(table: &'a NameTable, record: &'a Record) -> Self {
        Self { table, record }
    }

    /// Returns the name: lower-case without a trailing dot, `*.x` for a wildcard.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'a str {
        self.record.name(&self.table.text)
    }

    /// Returns the IPv4 addresses in the order of istiod.
    #[must_use]
    #[inline]
    pub fn ipv4(&self) -> &'a [Ipv4Addr] {
        match usize::from(self.record.v4_count) {
            1 => slice::from_ref(&self.record.v4),
            count => {
                let start = self.record.v4.to_bits() as usize;
                &self.table.v4[start..start + count]
            }
        }
    }

    /// Returns the IPv6 addresses in the order of istiod.
    #[must_use]
    #[inline]
    pub fn ipv6(&self) -> &'a [Ipv6Addr] {
        let start = self.record.v6 as usize;
        &self.table.v6[start..start + usize::from(self.record.v6_count)]
    }

    /// Returns all addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let v4 = self.ipv4().iter().copied().map(IpAddr::V4);
        v4.chain(self.ipv6().iter().copied().map(IpAddr::V6))
    }

    /// Returns the registry of the name.
    #[must_use]
    #[inline]
    pub fn registry(&self) -> Registry {
        self.record.origin.registry
    }

    /// Returns the name within its namespace: `forecast`, or `mysql-0.mysql` for a pod of a headless service. The name
    /// is empty if istiod sends none.
    #[must_use]
    pub fn short_name(&self) -> &'a str {
        self.record.short_name(&self.table.text)
    }

    /// Returns the Kubernetes namespace, which is empty if istiod sends none.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        self.record.namespace(&self.table.text)
    }

    /// Returns [`short_name`](Self::short_name), [`namespace`](Self::namespace) and [`registry`](Self::registry).
    #[must_use]
    pub fn service(&self) -> (&'a str, &'a str, Registry) {
        (self.short_name(), self.namespace(), self.registry())
    }

    pub(super) fn record(&self) -> &'a Record {
        self.record
    }

    /// Returns whether both entries have the same addresses. Their [`layout`](Record::layout) must be equal.
    #[inline]
    pub(super) fn has_addresses_of(&self, other: NameEntry<'_>) -> bool {
        (self.record.v4_count == 1 || self.ipv4() == other.ipv4())
            && (self.record.v6_count == 0 || self.ipv6() == other.ipv6())
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
