use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo as WireInfo};

use super::*;

fn table(entries: &[(&str, WireInfo)]) -> NameTable {
    let table = entries.iter().map(|(name, info)| ((*name).to_owned(), info.clone())).collect();
    NameTable::decode(&Wire { table }.encode_to_vec()).unwrap()
}

fn info(registry: &str, ips: &[&str]) -> WireInfo {
    WireInfo {
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        registry: registry.into(),
        ..WireInfo::default()
    }
}

#[test]
fn an_entry_has_its_addresses_by_family_and_its_registry() {
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
fn a_kubernetes_entry_with_a_trailing_dot_is_omitted() {
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
fn a_truncated_table_is_an_error() {
    let wire =
        Wire { table: HashMap::from([("a".to_owned(), info("External", &["1.1.1.1"]))]) }.encode_to_vec();
    for end in 1..wire.len() {
        assert!(NameTable::decode(&wire[..end]).is_err(), "{end} of {} bytes", wire.len());
    }
}

#[test]
fn short_name_and_namespace_are_independent_of_the_name() {
    let service = |short: &str, namespace: &str| WireInfo {
        shortname: short.into(),
        namespace: namespace.into(),
        ..info("Kubernetes", &["1.1.1.1"])
    };
    let table = table(&[
        ("mysql-0.mysql.data.svc.cluster.local", service("mysql-0.mysql", "data")),
        ("elsewhere.example", service("forecast", "weather")),
        ("Shop.retail.svc.cluster.local", service("Shop", "retail")),
        ("bare.example", service("", "")),
    ]);
    let service = |name: &str| table.get(name).unwrap().service();
    assert_eq!(
        service("mysql-0.mysql.data.svc.cluster.local"),
        ("mysql-0.mysql", "data", Registry::Kubernetes)
    );
    assert_eq!(service("elsewhere.example"), ("forecast", "weather", Registry::Kubernetes));
    assert_eq!(service("shop.retail.svc.cluster.local"), ("Shop", "retail", Registry::Kubernetes));
    assert_eq!(service("bare.example"), ("", "", Registry::Kubernetes));
}

#[test]
fn a_name_too_long_for_a_dns_question_is_omitted() {
    let long = "a".repeat(256);
    let table =
        table(&[(&long, info("External", &["1.1.1.1"])), (&long[1..], info("External", &["1.1.1.1"]))]);
    assert_eq!(table.len(), 1);
    assert!(table.get(&long[1..]).is_some());
}

#[test]
fn the_last_of_two_entries_with_one_name_is_used() {
    let part =
        |ip: &str| Wire { table: [("a.example".to_owned(), info("External", &[ip]))].into() }.encode_to_vec();
    let table = NameTable::decode(&[part("1.1.1.1"), part("2.2.2.2")].concat()).unwrap();
    assert_eq!((table.len(), table.iter().count()), (1, 1));
    assert_eq!(table.get("a.example").unwrap().ipv4(), [Ipv4Addr::new(2, 2, 2, 2)]);
}

#[test]
fn a_repeated_name_is_in_the_table_once() {
    let part = |name: &str, ip: &str| {
        Wire { table: [(name.to_owned(), info("External", &[ip]))].into() }.encode_to_vec()
    };
    let wire = ["", "b.example", "", "a.example", "b.example", "b.example"].map(|name| part(name, "1.1.1.1"));
    let table = NameTable::decode(&[wire.concat(), part("b.example", "2.2.2.2")].concat()).unwrap();
    let mut names: Vec<_> = table.iter().map(|entry| entry.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["", "a.example", "b.example"]);
    assert!(names.iter().all(|name| table.get(name).unwrap().name() == *name));
    assert_eq!(table.get("b.example").unwrap().ipv4(), [Ipv4Addr::new(2, 2, 2, 2)]);
}

#[test]
fn an_equal_table_has_no_successor_and_a_different_one_lists_its_changes() {
    let names = |table: &NameTable| table.changes().map(str::to_owned).collect::<BTreeSet<_>>();
    let (one, two) = (info("External", &["1.1.1.1"]), info("External", &["2.2.2.2"]));
    let first = table(&[("a.example", one.clone()), ("b.example", one.clone()), ("c.example", one.clone())]);
    let first = first.after(&NameTable::default()).unwrap();
    assert_eq!((first.generation(), names(&first).len()), (1, 3));
    let again = table(&[("c.example", one.clone()), ("b.example", one.clone()), ("a.example", one.clone())]);
    assert!(again.after(&first).is_none(), "in any order");
    let next = table(&[("a.example", one.clone()), ("b.example", two), ("d.example", one)]);
    let next = next.after(&first).unwrap();
    assert_eq!(next.generation(), 2);
    assert_eq!(names(&next), ["b.example", "c.example", "d.example"].map(str::to_owned).into());
    let none = NameTable::default().after(&next).unwrap();
    assert_eq!((names(&none).len(), none.generation()), (3, 3));
    assert!(NameTable::default().after(&none).is_none());
}

#[test]
fn a_removed_name_is_remembered_and_one_that_was_never_listed_is_not() {
    let one = info("External", &["1.1.1.1"]);
    let all = table(&[("a.example", one.clone()), ("b.example", one.clone())])
        .after(&NameTable::default())
        .unwrap();
    let less = table(&[("b.example", one.clone())]).after(&all).unwrap();
    let none = NameTable::default().after(&less).unwrap();
    let again = table(&[("c.example", one)]).after(&none).unwrap();
    for (table, listed) in
        [(&all, [true, true, false]), (&less, [true, true, false]), (&again, [true, true, true])]
    {
        assert_eq!(["a.example", "b.example", "c.example"].map(|name| table.was_listed(name)), listed);
    }
    assert!(!again.was_listed("d.example"));
}

proptest! {
    #[test]
    fn the_changes_are_those_that_a_map_finds(
        before in proptest::collection::btree_map("[a-e]{1,2}", 0u32..3, 0..30),
        after in proptest::collection::btree_map("[a-e]{1,2}", 0u32..3, 0..30),
        turned in 0usize..30,
    ) {
        // The names have realistic lengths, so that several are compared together.
        let long = |name: &str| format!("{name}.namespace-{name}.svc.cluster.local");
        let of = |names: &BTreeMap<String, u32>, turned: usize| {
            let part = |(name, ip): (&String, &u32)| {
                Wire { table: [(long(name), info("External", &[&Ipv4Addr::from(*ip).to_string()]))].into() }.encode_to_vec()
            };
            let mut parts: Vec<_> = names.iter().map(part).collect();
            let middle = turned.min(parts.len());
            parts.rotate_left(middle);
            NameTable::decode(&parts.concat()).unwrap()
        };
        let names = before.keys().chain(after.keys());
        let expected: BTreeSet<_> = names.filter(|name| before.get(*name) != after.get(*name)).map(|name| long(name)).collect();
        match of(&after, turned).after(&of(&before, 0)) {
            Some(next) => prop_assert_eq!(next.changes().map(str::to_owned).collect::<BTreeSet<_>>(), expected),
            None => prop_assert!(expected.is_empty()),
        }
    }

    #[test]
    fn any_bytes_give_a_table_or_an_error_and_prost_agrees(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ours = NameTable::decode(&bytes);
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
        let table = NameTable::decode(&wire.encode_to_vec()).unwrap();
        prop_assert_eq!(table.len(), names.len());
        for (name, ip) in &names {
            prop_assert_eq!(table.get(name).unwrap().ipv4(), [Ipv4Addr::from(*ip)]);
        }
    }
}

#[test]
fn names_that_collide_for_one_seed_do_not_collide_for_another() {
    let bucket = |hasher: &NameHasher, name: &str| hasher.hash(name.as_bytes()) & 0xfff;
    let [known, other] = [1, 2].map(NameHasher::with_seed);
    let names = (0u32..).map(|number| format!("s{number}.tenant.example"));
    let chosen: Vec<_> = names.filter(|name| bucket(&known, name) == 0).take(64).collect();
    let distinct: BTreeSet<_> = chosen.iter().map(|name| bucket(&other, name)).collect();
    assert!(distinct.len() > 48, "{} buckets for 64 names", distinct.len());
    let entries: Vec<_> = chosen.iter().map(|name| (&**name, info("External", &["1.1.1.1"]))).collect();
    let table = table(&entries);
    assert!(chosen.iter().all(|name| table.get(name).is_some()));
}

#[test]
fn each_table_of_a_client_has_the_seed_of_the_client() {
    let wire =
        Wire { table: [("a.example".to_owned(), info("External", &["1.1.1.1"]))].into() }.encode_to_vec();
    let hash = |seed| {
        let table = NameTable::from_wire(&wire, NameHasher::with_seed(seed)).unwrap();
        assert!(table.get("a.example").is_some());
        table.hasher.hash(b"a.example")
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}
