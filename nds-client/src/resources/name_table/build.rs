//! Putting a table together, entry by entry.
//!
//! The message (istio `pkg/dns/proto/nds.proto`): `map<string, NameInfo> table = 1`, and in `NameInfo`
//! `repeated string ips = 1; string registry = 2; string shortname = 3; string namespace = 4;
//! repeated string alt_hosts = 5`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str,
};

use hashbrown::{HashTable, hash_table};

use super::{
    Changes, InvalidNameTable, NameTable, Slot,
    entry::{Origin, Record, Registry},
    hash,
};
use crate::protobuf::Fields;

/// A table that grows.
pub(super) struct Builder {
    text: Vec<u8>,
    records: Vec<Record>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    index: HashTable<Slot>,
}

/// What an entry says about its service.
#[derive(Default)]
struct Service<'a> {
    short_name: &'a [u8],
    namespace: &'a [u8],
    registry: Registry,
    has_alternates: bool,
}

impl Builder {
    /// With room for what is in `wire`.
    pub(super) fn new(wire: &[u8], number: u64) -> Result<Self, InvalidNameTable> {
        offset(wire.len())?;
        let names = Fields(wire).filter(|field| matches!(field, Ok((found, _)) if *found == number)).count();
        Ok(Self {
            text: Vec::with_capacity(wire.len() / 2),
            records: Vec::with_capacity(names),
            v4: Vec::new(),
            v6: Vec::new(),
            index: HashTable::with_capacity(names),
        })
    }

    pub(super) fn finish(self) -> Result<NameTable, InvalidNameTable> {
        let not_text = |_| InvalidNameTable("a name that is not UTF-8");
        Ok(NameTable {
            text: String::from_utf8(self.text).map_err(not_text)?.into_boxed_str(),
            records: self.records.into_boxed_slice(),
            v4: self.v4.into_boxed_slice(),
            v6: self.v6.into_boxed_slice(),
            index: self.index,
            generation: 0,
            changes: Changes::All,
        })
    }

    pub(super) fn entry(&mut self, wire: &[u8]) -> Result<(), InvalidNameTable> {
        let (mut name, mut info): (&[u8], &[u8]) = (&[], &[]);
        for field in Fields(wire) {
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
        // Istio's proxy gives a Kubernetes entry with a trailing dot no name at all (`buildAlternateHosts`).
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

    /// Takes the addresses, and gives the rest.
    fn read<'a>(&mut self, info: &'a [u8]) -> Result<Service<'a>, InvalidNameTable> {
        let mut service = Service::default();
        for field in Fields(info) {
            match field? {
                (1, ip) => match address(ip) {
                    Some(IpAddr::V4(ip)) => self.v4.push(ip),
                    Some(IpAddr::V6(ip)) => self.v6.push(ip),
                    None => {}
                },
                (2, b"Kubernetes") => service.registry = Registry::Kubernetes,
                (2, _) => service.registry = Registry::External,
                (3, short_name) => service.short_name = short_name,
                (4, namespace) => service.namespace = namespace,
                (5, _) => service.has_alternates = true,
                _ => {}
            }
        }
        Ok(service)
    }

    fn add(&mut self, name: &[u8], service: &Service<'_>, record: Record) -> Result<(), InvalidNameTable> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        let Ok(name_len) = u8::try_from(name.len()) else { return Ok(()) };
        let record = Record { at: offset(self.text.len())?, name_len, ..self.place(name, service, record) };
        let Self { text, records, index, .. } = self;
        let name = record.name_bytes(text);
        let next = Slot { record: offset(records.len())?, text: record.at };
        let name_of = |slot: &Slot| records[slot.record as usize].name_bytes(text);
        match index.entry(hash(name), |slot| name_of(slot) == name, |slot| hash(name_of(slot))) {
            // A map on the wire may name a key twice: the last one counts.
            hash_table::Entry::Occupied(mut slot) => {
                records[slot.get().record as usize] = record;
                slot.get_mut().text = record.at;
            }
            hash_table::Entry::Vacant(slot) => {
                slot.insert(next);
                records.push(record);
            }
        }
        Ok(())
    }

    /// Writes the texts of a record behind the others: the name in lower case, as Istio's proxy compares names, and what
    /// the name does not begin with.
    fn place(&mut self, name: &[u8], service: &Service<'_>, record: Record) -> Record {
        let at = self.text.len();
        self.text.extend_from_slice(name);
        self.text[at..].make_ascii_lowercase();
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

#[inline]
fn address(text: &[u8]) -> Option<IpAddr> {
    dotted(text).map(IpAddr::V4).or_else(|| str::from_utf8(text).ok()?.parse().ok())
}

/// Four decimal numbers without leading zeros: nearly all addresses, and read faster than by the standard library, which
/// reads the others.
#[inline]
fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut at, mut octet, mut digits) = ([0u8; 4], 0, 0u16, 0);
    for byte in text {
        match byte {
            b'0'..=b'9' if digits == 0 || octet != 0 => {
                octet = octet * 10 + u16::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && at < 3 => {
                octets[at] = u8::try_from(octet).ok()?;
                (at, octet, digits) = (at + 1, 0, 0);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(octet).ok()?;
    (at == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

/// An index into the text, or into a list that is no longer than the wire.
fn offset(at: usize) -> Result<u32, InvalidNameTable> {
    u32::try_from(at).map_err(|_| InvalidNameTable("more than 4 GiB"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_read_as_the_standard_library_reads_them(text in "[0-9.]{0,16}|[0-9a-f:.]{0,24}") {
            prop_assert_eq!(address(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn every_ipv4_address_is_read(ip: Ipv4Addr) {
            prop_assert_eq!(dotted(ip.to_string().as_bytes()), Some(ip));
        }
    }

    #[test]
    fn a_number_with_a_leading_zero_is_no_part_of_an_address() {
        for text in ["10.0.0.01", "00.0.0.0", "10.0.0", "10.0.0.0.1", "256.0.0.1", "10..0.1", "10.0.0.", ""] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(b"0.0.0.0"), Some(Ipv4Addr::UNSPECIFIED.into()));
    }
}
