//! The names of an address: the inverse of the name table.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use nds_client::resources::name_table::NameTable;
use parking_lot::Mutex;

/// An index from addresses to names. The first lookup after each new name table builds it, but only for an address that
/// this process has not resolved from a name. Reading is wait-free; one caller at a time builds the index.
#[derive(Default)]
pub(super) struct ByAddress {
    current: ArcSwapOption<Index>,
    making: Mutex<()>,
}

struct Index {
    of: Arc<NameTable>,
    names: HashMap<IpAddr, Vec<String>>,
}

impl ByAddress {
    pub(super) fn names(&self, ip: IpAddr, table: &Arc<NameTable>) -> Vec<String> {
        let found = |index: &Index| index.names.get(&ip).cloned().unwrap_or_default();
        if let Some(index) = self.current(table) {
            return found(&index);
        }
        let _one_at_a_time = self.making.lock();
        if let Some(index) = self.current(table) {
            return found(&index);
        }
        let index = Arc::new(Index::new(table));
        self.current.store(Some(index.clone()));
        found(&index)
    }

    fn current(&self, table: &Arc<NameTable>) -> Option<Arc<Index>> {
        self.current.load_full().filter(|index| Arc::ptr_eq(&index.of, table))
    }
}

impl Index {
    fn new(table: &Arc<NameTable>) -> Self {
        let mut names: HashMap<IpAddr, Vec<String>> = HashMap::with_capacity(table.len());
        for entry in table.iter() {
            for ip in entry.addresses() {
                names.entry(ip).or_default().push(entry.name().to_owned());
            }
        }
        Self { of: table.clone(), names }
    }
}

impl fmt::Debug for ByAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.current.load().as_ref().map(|index| index.names.len());
        f.debug_struct("ByAddress").field("addresses", &addresses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

    use super::*;

    fn table(names: &[(&str, &str)]) -> Arc<NameTable> {
        let info = |ip: &str| NameInfo { ips: vec![ip.into()], ..NameInfo::default() };
        let table = names.iter().map(|(name, ip)| ((*name).to_owned(), info(ip))).collect();
        Arc::new(NameTable::decode(&Wire { table }.encode_to_vec()).unwrap())
    }

    #[test]
    fn every_name_with_the_address_is_found_and_a_new_table_replaces_the_index() {
        let by_address = ByAddress::default();
        let names = |ip: &str, table| {
            let mut names = by_address.names(ip.parse().unwrap(), table);
            names.sort();
            names
        };
        let first = table(&[("a.example", "10.0.0.1"), ("b.example", "10.0.0.1"), ("c.example", "10.0.0.2")]);
        assert_eq!(names("10.0.0.1", &first), ["a.example", "b.example"]);
        assert!(names("10.0.0.3", &first).is_empty());
        assert_eq!(names("10.0.0.1", &table(&[("d.example", "10.0.0.1")])), ["d.example"]);
    }
}
