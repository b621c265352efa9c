use std::collections::HashMap;

use proptest::prelude::*;
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo as WireInfo};

use super::*;

fn table(entries: &[(&str, WireInfo)]) -> NameTable {
    let table = entries.iter().map(|(name, info)| ((*name).to_owned(), info.clone())).collect();
    NameTable::decode(Wire { table }.encode_to_vec().into()).unwrap()
}

fn info(registry: &str, ips: &[&str]) -> WireInfo {
    WireInfo {
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        registry: registry.into(),
        ..WireInfo::default()
    }
}

#[test]
fn a_name_has_its_addresses_by_family_and_its_origin() {
    let service = WireInfo {
        shortname: "forecast".into(),
        namespace: "weather".into(),
        ..info("Kubernetes", &["10.1.2.3", "2001:db8::1"])
    };
    let table = table(&[("forecast.weather.svc.cluster.local", service)]);
    let entry = table.get("forecast.weather.svc.cluster.local").unwrap();
    assert_eq!(entry.ipv4(), [Ipv4Addr::new(10, 1, 2, 3)]);
    assert_eq!(entry.ipv6(), ["2001:db8::1".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(entry.registry(), Registry::Kubernetes);
    assert_eq!((entry.short_name(), entry.namespace()), ("forecast", "weather"));
    assert!(table.get("forecast").is_none());
}

#[test]
fn an_entry_without_a_valid_address_is_not_in_the_table() {
    let table = table(&[("a.example", info("External", &["not an address"])), ("b.example", info("", &[]))]);
    assert!(table.is_empty());
}

#[test]
fn names_are_found_in_lower_case_and_without_the_trailing_dot() {
    let table = table(&[("Example.LocalHost.", info("External", &["3.3.3.3"]))]);
    assert_eq!(table.get("example.localhost").unwrap().name(), "example.localhost");
}

#[test]
fn a_kubernetes_entry_with_a_trailing_dot_has_no_name() {
    assert!(table(&[("a.b.svc.cluster.local.", info("Kubernetes", &["1.1.1.1"]))]).is_empty());
}

#[test]
fn the_deprecated_alternate_hosts_are_names_too() {
    let service =
        WireInfo { alt_hosts: vec!["A.ns.svc.clusterset.local".into()], ..info("Kubernetes", &["1.1.1.1"]) };
    let table = table(&[("a.ns.svc.cluster.local", service)]);
    assert_eq!(table.get("a.ns.svc.clusterset.local").unwrap().ipv4(), [Ipv4Addr::new(1, 1, 1, 1)]);
}

#[test]
fn a_table_that_is_cut_short_is_refused() {
    let wire =
        Wire { table: HashMap::from([("a".to_owned(), info("External", &["1.1.1.1"]))]) }.encode_to_vec();
    for end in 1..wire.len() {
        assert!(NameTable::decode(wire[..end].to_vec().into()).is_err(), "{end} of {} bytes", wire.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_table_or_an_error_and_prost_agrees(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ours = NameTable::decode(bytes.clone().into());
        if let Ok(theirs) = Wire::decode(&bytes[..]) {
            prop_assert!(ours.is_ok() && ours.unwrap().len() <= theirs.table.len());
        }
    }

    #[test]
    fn every_name_that_prost_reads_is_found(
        names in proptest::collection::hash_map("[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", any::<u32>(), 0..100),
    ) {
        let wire = Wire {
            table: names.iter().map(|(name, ip)| {
                (name.clone(), info("External", &[&Ipv4Addr::from(*ip).to_string()]))
            }).collect(),
        };
        let table = NameTable::decode(wire.encode_to_vec().into()).unwrap();
        prop_assert_eq!(table.len(), names.len());
        for (name, ip) in &names {
            prop_assert_eq!(table.get(name).unwrap().ipv4(), [Ipv4Addr::from(*ip)]);
        }
    }
}
