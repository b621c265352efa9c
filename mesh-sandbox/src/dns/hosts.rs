//! The file `upstream.hosts`, in the format of hosts(5): the names that the DNS server outside the mesh answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::location::SourceLocation;

/// Names with their addresses. Names are in lower case, without a trailing dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts(BTreeMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Returns the addresses of a name, or `None` if the name does not exist.
    pub(crate) fn get(&self, name: &str) -> Option<&[IpAddr]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

pub(crate) fn parse(file: &Path, text: &str) -> Result<Hosts> {
    let mut hosts = BTreeMap::<String, Vec<IpAddr>>::new();
    for (line, number) in text.lines().zip(1..) {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next() else { continue };
        let failed = |problem: String| {
            let problem = format!("{problem}; a line consists of an IP address and its names");
            Error::at(ErrorKind::InvalidHosts, SourceLocation::new(file, number), problem)
        };
        let address: IpAddr =
            address.parse().map_err(|_| failed(format!("`{address}` is not an IP address")))?;
        let names: Vec<&str> = words.collect();
        if names.is_empty() {
            return Err(failed(format!("the address {address} has no name")));
        }
        for name in names {
            let addresses = hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(Hosts(hosts))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::parse;

    #[test]
    fn a_name_on_several_lines_has_all_their_addresses() {
        let hosts =
            parse(Path::new("h"), "192.0.2.1 a.example A2.example # one\n2001:db8::1 a.example\n").unwrap();
        assert_eq!(hosts.get("a.example").unwrap().len(), 2);
        assert_eq!(hosts.get("a2.example").unwrap().len(), 1);
        assert_eq!(hosts.get("b.example"), None);
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        let error = parse(Path::new("h"), "\n192.0.2 a.example\n").unwrap_err();
        assert_eq!(error.location().unwrap().line(), 2);
    }
}
