//! Addresses that istiod allocates: two starts give them out in different order.

use std::{collections::BTreeMap, net::IpAddr};

use xds_proto::istio::networking::nds::v1::NameTable;

/// The automatic addresses of a table, each with the host that has it.
pub(crate) struct Automatic<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Automatic<'a> {
    /// Two hosts with the same automatic address would be a fault that no comparison by host can show.
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

    /// The address, or whose automatic address it is.
    pub(crate) fn name(&self, address: &str) -> String {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        self.0
            .get(address)
            .map_or_else(|| address.to_owned(), |host| format!("<automatic {family} of {host}>"))
    }
}

/// 240.240.0.0/16 and 2001:2::/48 (facts D.3).
fn is_automatic(address: &str) -> bool {
    match address.parse() {
        Ok(IpAddr::V4(address)) => address.octets()[..2] == [240, 240],
        Ok(IpAddr::V6(address)) => address.segments()[..3] == [0x2001, 2, 0],
        Err(_) => false,
    }
}
