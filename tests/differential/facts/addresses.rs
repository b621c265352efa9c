//! Automatically allocated addresses, whose order differs between two starts of istiod.

use std::{collections::BTreeMap, net::IpAddr};

use xds_proto::istio::networking::nds::v1::NameTable;

/// The automatic addresses in a name table, with their hosts.
pub(crate) struct Automatic<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Automatic<'a> {
    /// Two hosts with the same automatic address are an error that a comparison by host would not find.
    pub(crate) fn of(table: &'a NameTable) -> Self {
        let mut owners = BTreeMap::new();
        for (host, info) in &table.table {
            for address in info.ips.iter().filter(|address| is_automatic(address)) {
                let before = owners.insert(address.as_str(), host.as_str());
                assert!(before.is_none_or(|before| before == host), "{host} and {before:?} share {address}");
            }
        }
        Self(owners)
    }

    /// Returns the address, or a description with the host if the address is automatic.
    pub(crate) fn name(&self, address: &str) -> String {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        self.0
            .get(address)
            .map_or_else(|| address.to_owned(), |host| format!("<automatic {family} of {host}>"))
    }
}

/// The ranges 240.240.0.0/16 and 2001:2::/48 (istio `pilot/pkg/networking/serviceentry/ip_autoallocation.go`).
fn is_automatic(address: &str) -> bool {
    match address.parse() {
        Ok(IpAddr::V4(address)) => address.octets()[..2] == [240, 240],
        Ok(IpAddr::V6(address)) => address.segments()[..3] == [0x2001, 2, 0],
        Err(_) => false,
    }
}
