//! A parser of hosts(5), and a compact map of its names.
//!
//! The file is a sequence of bytes, because comments may be in any encoding. Like glibc, the parser ignores what it
//! cannot read: an invalid line does not affect the others.

use std::{net::IpAddr, str};

use crate::{host, name::MAX_NAME};

/// The names of a `hosts` file and their addresses.
///
/// Lists with hundreds of thousands of names that all have the same address are common. The names are therefore in one
/// text, each address is stored once, and an entry has 12 bytes.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    text: Box<[u8]>,
    /// The entries, sorted by name. The entries of one name are in the order of the file.
    entries: Box<[Entry]>,
    addresses: Box<[IpAddr]>,
}

/// One address of a name.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The position of the name in the text.
    at: u32,
    /// The index of the address.
    address: u32,
    len: u8,
}

/// The lines that could not be read completely.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Skipped {
    /// The number of lines with an invalid address or an invalid name.
    pub(crate) lines: usize,
    /// The line number of the first such line, counted from 1.
    pub(crate) first: usize,
}

impl Entry {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.at as usize..).and_then(|rest| rest.get(..self.len.into())).unwrap_or_default()
    }
}

impl Hosts {
    /// Parses a file. Lines end with LF, CR or CRLF; a comment extends from `#` to the end of the line.
    pub(crate) fn parse(file: Vec<u8>) -> (Self, Skipped) {
        let bytes = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file);
        let (mut builder, mut skipped) = (Builder::for_file(bytes), Skipped::default());
        // Each LF begins a new line of the file. CR separates lines, too, but does not count them.
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !line
                .split(|byte| *byte == b'\r')
                .map(|line| builder.line(line))
                .fold(true, |all, read| all & read)
            {
                skipped.first = if skipped.lines == 0 { number + 1 } else { skipped.first };
                skipped.lines += 1;
            }
        }
        // The file may be large, so its memory is freed before the entries are sorted.
        drop(file);
        (builder.finish(), skipped)
    }

    /// Returns the addresses of a name, in the order of the file. The case and a trailing dot are ignored.
    pub(crate) fn addresses(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into_bytes();
        let first = self.entries.partition_point(|entry| entry.name(&self.text) < &*name);
        let entries = self.entries.get(first..).unwrap_or_default();
        let same = entries.iter().take_while(move |entry| entry.name(&self.text) == &*name);
        same.filter_map(|entry| self.addresses.get(entry.address as usize).copied())
    }

    /// Returns the number of pairs of a name and an address.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[derive(Default)]
struct Builder {
    text: Vec<u8>,
    entries: Vec<Entry>,
    addresses: Vec<IpAddr>,
    /// The index of each address. Most files have few different addresses.
    index: std::collections::HashMap<IpAddr, u32, foldhash::quality::RandomState>,
}

impl Builder {
    /// Reserves what a file with one name per line needs, so that the lists need not grow.
    fn for_file(bytes: &[u8]) -> Self {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        Self {
            text: Vec::with_capacity(bytes.len()),
            entries: Vec::with_capacity(lines + 1),
            ..Self::default()
        }
    }

    /// Adds the names of a line. Returns whether the line is valid.
    fn line(&mut self, line: &[u8]) -> bool {
        let content = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut words = content.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(address) = words.next() else { return true };
        let Some(address) = str::from_utf8(address).ok().and_then(|text| text.parse().ok()) else {
            return false;
        };
        words.fold(true, |all, name| all & self.name(name, address).is_some())
    }

    /// Adds one name. Returns `None` if it cannot be a host name.
    fn name(&mut self, name: &[u8], address: IpAddr) -> Option<()> {
        let name = host::ascii(str::from_utf8(name).ok()?);
        let name = name.strip_suffix('.').unwrap_or(&name);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let next = u32::try_from(self.addresses.len()).ok()?;
        let entry = Entry {
            at: u32::try_from(self.text.len()).ok()?,
            address: *self.index.entry(address).or_insert(next),
            len: u8::try_from(name.len()).ok()?,
        };
        if entry.address == next {
            self.addresses.push(address);
        }
        self.text.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
        self.entries.push(entry);
        Some(())
    }

    fn finish(mut self) -> Hosts {
        let text = self.text.into_boxed_slice();
        // The position is part of the sort key, so that the entries of one name stay in the order of the file.
        self.entries
            .sort_unstable_by(|one, other| (one.name(&text), one.at).cmp(&(other.name(&text), other.at)));
        Hosts { text, entries: self.entries.into(), addresses: self.addresses.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn found(bytes: &[u8], name: &str) -> Vec<String> {
        Hosts::parse(bytes.to_vec()).0.addresses(name).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn the_names_of_a_line_have_its_address_in_any_case_and_with_a_trailing_dot() {
        let file =
            b"127.0.0.1\tlocalhost\n10.9.8.7  WWW.Example.org www. # the web server\n::1 ip6-localhost";
        for name in ["www.example.org", "Www.Example.Org.", "www"] {
            assert_eq!(found(file, name), ["10.9.8.7"], "{name}");
        }
        assert_eq!(found(file, "ip6-localhost"), ["::1"]);
        for name in ["the", "", ".", "10.9.8.7", "www.example", "ww"] {
            assert!(found(file, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_affects_only_its_word() {
        let file = b"# der Rechner von M\xfcller\n10.9.8.7 www.example.org # M\xfcller\n10.9.8.6 m\xfcller db.example.org\n";
        assert_eq!(found(file, "www.example.org"), ["10.9.8.7"]);
        assert_eq!(found(file, "db.example.org"), ["10.9.8.6"]);
        let (hosts, skipped) = Hosts::parse(file.to_vec());
        assert_eq!((hosts.len(), skipped), (2, Skipped { lines: 1, first: 3 }));
    }

    #[test]
    fn every_line_ending_and_a_byte_order_mark_are_accepted() {
        for file in [
            "10.0.0.1 a\n10.0.0.2 b\n",
            "10.0.0.1 a\r\n10.0.0.2 b",
            "10.0.0.1 a\r10.0.0.2 b\r",
            "\u{feff}10.0.0.1 a\n\n\n10.0.0.2 b",
        ] {
            let (hosts, skipped) = Hosts::parse(file.into());
            assert_eq!((hosts.len(), skipped), (2, Skipped::default()), "{file:?}");
            assert_eq!(found(file.as_bytes(), "b"), ["10.0.0.2"], "{file:?}");
        }
    }

    #[test]
    fn all_addresses_of_a_name_are_found_in_the_order_of_the_file() {
        let file = b"10.0.0.2 a b\n2001:db8::1 a\n10.0.0.1 A.\n10.0.0.2 c a\n";
        assert_eq!(found(file, "a"), ["10.0.0.2", "2001:db8::1", "10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn lines_with_an_invalid_address_or_name_are_skipped_and_counted() {
        let long = "a".repeat(254);
        let file = format!(
            "nonsense a\n10.0.0.1\n1.2.3 b\nfe80::1%eth0 c\n10.0.0.1 {long} d\n10.0.0.1 e\0 f\n10.0.0.1 g\n"
        );
        let (hosts, skipped) = Hosts::parse(file.into());
        assert_eq!(skipped, Skipped { lines: 5, first: 1 });
        assert_eq!(hosts.len(), 3, "d, f and g");
    }

    #[test]
    fn an_internationalised_name_is_found_by_its_ascii_form() {
        assert_eq!(found("10.0.0.1 bücher.example".as_bytes(), "xn--bcher-kva.example"), ["10.0.0.1"]);
    }

    /// A usual list of blocked names has 150 000 lines, all with the same address.
    #[test]
    fn a_file_of_150_000_lines_needs_less_than_20_megabytes_while_it_is_parsed_and_after() {
        let file: String =
            (0..150_000).map(|n| format!("0.0.0.0 advertising-{n}.tracker.example.com\n")).collect();
        let mut parsed = None;
        let used = allocation_counter::measure(|| parsed = Some(Hosts::parse(file.clone().into())));
        assert!(used.bytes_max < 20_000_000, "{used:?}");
        assert!(used.bytes_current < 10_000_000, "{used:?}");
        let (hosts, skipped) = parsed.unwrap();
        assert_eq!((hosts.len(), skipped), (150_000, Skipped::default()));
        assert_eq!(hosts.addresses("advertising-149999.tracker.example.com").count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (hosts, skipped) = Hosts::parse(bytes.clone());
            prop_assert!(hosts.len() <= bytes.len() && skipped.lines <= bytes.len() + 1);
        }

        #[test]
        fn every_name_has_the_addresses_of_its_lines(
            lines in proptest::collection::vec(("[a-c]{1,2}[.]?", 0u8..4, "[ \t]{1,2}", "(\n|\r\n|\r)"), 0..30)
        ) {
            let mut expected = BTreeMap::<String, Vec<String>>::new();
            let mut file = String::new();
            for (name, last, space, end) in &lines {
                file += &format!("{space}10.0.0.{last}{space}{name}{space}#{name}{end}");
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                expected.entry(name).or_default().push(format!("10.0.0.{last}"));
            }
            for (name, addresses) in &expected {
                prop_assert_eq!(&found(file.as_bytes(), name), addresses, "{}", name);
            }
        }
    }
}
