//! Builds a name table entry by entry, in one pass over the message.
//!
//! The message is `map<string, NameInfo> table = 1` (istio `pkg/dns/proto/nds.proto`). The fields of `NameInfo` are
//! `repeated string ips = 1; string registry = 2; string shortname = 3; string namespace = 4; repeated string alt_hosts
//! = 5`.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str,
};

use hashbrown::{HashTable, hash_table};

use super::{
    Changes, InvalidNameTable, NameHasher, NameTable, Slot,
    entry::{Origin, Record, Registry},
    former::FormerNames,
};
use crate::protobuf::Fields;

/// A table under construction.
pub(super) struct Builder {
    text: Vec<u8>,
    /// The records. A name can have two records until [`index`](Self::index) is called.
    records: Vec<Record>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    hasher: NameHasher,
}

/// The fields of an entry that describe its service.
#[derive(Default)]
struct Service<'a> {
    short_name: &'a [u8],
    namespace: &'a [u8],
    registry: Registry,
    has_alternates: bool,
}

impl Builder {
    /// Creates a builder and reserves memory for the names in `wire`. [`finish`](Self::finish) frees the unused memory.
    pub(super) fn new(wire: &[u8], hasher: NameHasher) -> Result<Self, InvalidNameTable> {
        offset(wire.len())?;
        let (text, records) = (Vec::with_capacity(wire.len() / 2), Vec::with_capacity(wire.len() / 64));
        Ok(Self { text, records, v4: Vec::new(), v6: Vec::new(), hasher })
    }

    pub(super) fn finish(mut self) -> Result<NameTable, InvalidNameTable> {
        let not_text = |_| InvalidNameTable("a name is not UTF-8");
        let index = self.index();
        Ok(NameTable {
            text: String::from_utf8(self.text).map_err(not_text)?.into_boxed_str(),
            records: self.records.into_boxed_slice(),
            v4: self.v4.into_boxed_slice(),
            v6: self.v6.into_boxed_slice(),
            index,
            hasher: self.hasher,
            generation: 0,
            changes: Changes::All,
            former: FormerNames::default(),
        })
    }

    /// Builds the index of all names. A protobuf map can contain a key twice: only the last record of a name remains.
    fn index(&mut self) -> HashTable<Slot> {
        let (text, records, hasher) = (&*self.text, &*self.records, &self.hasher);
        let (mut index, mut replaced) = (HashTable::<Slot>::with_capacity(records.len()), Vec::new());
        let name_of = |slot: &Slot| records[slot.record as usize].name_bytes(text);
        for (number, record) in (0u32..).zip(records) {
            let (name, slot) = (record.name_bytes(text), Slot { record: number, text: record.at });
            let hash = |slot: &Slot| hasher.hash(name_of(slot));
            match index.entry(hasher.hash(name), |slot| name_of(slot) == name, hash) {
                hash_table::Entry::Occupied(mut entry) => {
                    replaced.push(mem::replace(entry.get_mut(), slot).record)
                }
                hash_table::Entry::Vacant(entry) => {
                    entry.insert(slot);
                }
            }
        }
        if replaced.is_empty() {
            return index;
        }
        replaced.sort_unstable();
        let mut number = 0..;
        self.records.retain(|_| number.next().is_none_or(|number| replaced.binary_search(&number).is_err()));
        self.index()
    }

    pub(super) fn entry(&mut self, wire: &[u8]) -> Result<(), InvalidNameTable> {
        let mut fields = Fields(wire);
        let [mut name, mut info] = [1, 2].map(|number| fields.next_short(number).unwrap_or_default());
        for field in fields {
            match field? {
                (1, value) => name = value,
                (2, value) => info = value,
                _ => {}
            }
        }
        let (v4, v6) = (self.v4.len(), self.v6.len());
        let service = self.read(info)?;
        let kubernetes = service.registry == Registry::Kubernetes;
        let (v4_count, v6_count) = (self.v4.len() - v4, self.v6.len() - v6);
        // Istio's proxy generates no names for a Kubernetes entry with a trailing dot (`buildAlternateHosts`).
        if v4_count + v6_count == 0 || kubernetes && name.ends_with(b".") {
            self.v4.truncate(v4);
            self.v6.truncate(v6);
            return Ok(());
        }
        let v4 = match self.v4[v4..] {
            [_] => self.v4.pop().unwrap_or(Ipv4Addr::UNSPECIFIED),
            _ => Ipv4Addr::from_bits(offset(v4)?),
        };
        let record = Record {
            at: 0,
            v4,
            v6: offset(v6)?,
            v4_count: u16::try_from(v4_count).unwrap_or(u16::MAX),
            v6_count: u16::try_from(v6_count).unwrap_or(u16::MAX),
            name_len: 0,
            short_len: 0,
            namespace_len: 0,
            origin: Origin { registry: service.registry, apart: false },
        };
        self.add(name, &service, record)?;
        if kubernetes && service.has_alternates {
            for field in Fields(info) {
                if let (5, alternate) = field? {
                    self.add(alternate, &service, record)?;
                }
            }
        }
        Ok(())
    }

    /// Stores the addresses of an entry and returns its service.
    fn read<'a>(&mut self, info: &'a [u8]) -> Result<Service<'a>, InvalidNameTable> {
        let (mut service, mut fields) = (Service::default(), Fields(info));
        while let Some(ip) = fields.next_short(1) {
            self.address(ip);
        }
        if let Some(registry) = fields.next_short(2) {
            service.registry = registry_of(registry);
        }
        [service.short_name, service.namespace] =
            [3, 4].map(|number| fields.next_short(number).unwrap_or_default());
        for field in fields {
            match field? {
                (1, ip) => self.address(ip),
                (2, registry) => service.registry = registry_of(registry),
                (3, short_name) => service.short_name = short_name,
                (4, namespace) => service.namespace = namespace,
                (5, _) => service.has_alternates = true,
                _ => {}
            }
        }
        Ok(service)
    }

    #[inline]
    fn address(&mut self, text: &[u8]) {
        match address(text) {
            Some(IpAddr::V4(ip)) => self.v4.push(ip),
            Some(IpAddr::V6(ip)) => self.v6.push(ip),
            None => {}
        }
    }

    fn add(&mut self, name: &[u8], service: &Service<'_>, record: Record) -> Result<(), InvalidNameTable> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        let Ok(name_len) = u8::try_from(name.len()) else { return Ok(()) };
        let at = offset(self.text.len())?;
        let record = self.place(name, service, Record { at, name_len, ..record });
        self.records.push(record);
        Ok(())
    }

    /// Appends the texts of a record: the name in lower case, because Istio's proxy compares names in lower case, and
    /// the short name and namespace if the name does not start with them.
    fn place(&mut self, name: &[u8], service: &Service<'_>, record: Record) -> Record {
        let at = self.text.len();
        self.text.extend_from_slice(name);
        lower_case(&mut self.text[at..]);
        let fits = |text: &[u8]| u8::try_from(text.len()).unwrap_or(0);
        let (short_len, namespace_len) = (fits(service.short_name), fits(service.namespace));
        let short_name = &service.short_name[..usize::from(short_len)];
        let namespace = &service.namespace[..usize::from(namespace_len)];
        let within = self.text[at..].strip_prefix(short_name).and_then(|rest| rest.strip_prefix(b"."));
        let apart = !within.is_some_and(|rest| rest.starts_with(namespace));
        if apart {
            self.text.extend_from_slice(short_name);
            self.text.extend_from_slice(namespace);
        }
        Record { short_len, namespace_len, origin: Origin { apart, ..record.origin }, ..record }
    }
}

/// Converts to ASCII lower case in blocks. The last block may overlap the one before it.
#[inline]
fn lower_case(text: &mut [u8]) {
    const BLOCK: usize = 16;
    match text.last_chunk_mut::<BLOCK>() {
        Some(last) => {
            last.make_ascii_lowercase();
            text.as_chunks_mut::<BLOCK>().0.iter_mut().for_each(|block| block.make_ascii_lowercase());
        }
        None => text.make_ascii_lowercase(),
    }
}

fn registry_of(text: &[u8]) -> Registry {
    match text {
        b"Kubernetes" => Registry::Kubernetes,
        _ => Registry::External,
    }
}

#[inline]
fn address(text: &[u8]) -> Option<IpAddr> {
    dotted(text).map(IpAddr::V4).or_else(|| str::from_utf8(text).ok()?.parse().ok())
}

/// Parses an IPv4 address of four decimal numbers without leading zeros. This is faster than the parser of the standard
/// library, which handles the other forms.
#[inline]
fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let (first, rest) = number(text)?;
    let (second, rest) = number(rest.strip_prefix(b".")?)?;
    let (third, rest) = number(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = number(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(first, second, third, fourth))
}

/// Parses up to three digits without leading zeros. Returns the number and the rest of the text.
#[inline]
fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let [first, rest @ ..] = text else { return None };
    let first = digit(*first)?;
    let [second, after_second @ ..] = rest else { return Some((first, rest)) };
    let Some(second) = digit(*second) else { return Some((first, rest)) };
    if first == 0 {
        return None;
    }
    let tens = first * 10 + second;
    let [third, after_third @ ..] = after_second else { return Some((tens, after_second)) };
    let Some(third) = digit(*third) else { return Some((tens, after_second)) };
    Some((tens.checked_mul(10)?.checked_add(third)?, after_third))
}

/// Converts an index into the text, or into a list of addresses, to 32 bits.
fn offset(at: usize) -> Result<u32, InvalidNameTable> {
    u32::try_from(at).map_err(|_| InvalidNameTable("the table is larger than 4 GiB"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_parsed_like_in_the_standard_library(text in "[0-9.]{0,16}|[0-9a-f:.]{0,24}") {
            prop_assert_eq!(address(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn every_ipv4_address_is_parsed(ip: Ipv4Addr) {
            prop_assert_eq!(dotted(ip.to_string().as_bytes()), Some(ip));
        }
    }

    #[test]
    fn a_number_with_a_leading_zero_is_invalid() {
        for text in ["10.0.0.01", "00.0.0.0", "10.0.0", "10.0.0.0.1", "256.0.0.1", "10..0.1", "10.0.0.", ""] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(b"0.0.0.0"), Some(Ipv4Addr::UNSPECIFIED.into()));
    }
}
