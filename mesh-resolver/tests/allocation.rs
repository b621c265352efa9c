//! Checks that a lookup in the name table does not allocate. The allocator of this binary counts per thread.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use allocation_counter::measure;
use mesh_resolver::{MeshResolver, SearchScope, Upstream};
use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

fn table() -> NameTable {
    let info = |ips: &[&str], registry: &str, shortname: &str, namespace: &str| NameInfo {
        ips: ips.iter().map(ToString::to_string).collect(),
        registry: registry.into(),
        shortname: shortname.into(),
        namespace: namespace.into(),
        ..NameInfo::default()
    };
    let many: Vec<_> = (1..=100).map(|last| format!("10.0.0.{last}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let eight = &many[..8];
    let table = [
        ("forecast.weather.svc.cluster.local", info(&["10.1.2.3"], "Kubernetes", "forecast", "weather")),
        ("db.vms.svc.cluster.local", info(&["10.1.2.4", "2001:db8::4"], "Kubernetes", "db", "vms")),
        ("eight.example", info(eight, "External", "", "")),
        ("hundred.example", info(&many, "External", "", "")),
        ("*.wildcard", info(&["10.1.2.5"], "External", "", "")),
    ];
    let table = table.into_iter().map(|(name, info)| (name.to_owned(), info)).collect();
    NameTable::decode(&Wire { table }.encode_to_vec()).unwrap()
}

#[test]
fn a_lookup_in_the_name_table_does_not_allocate() {
    let (names, health) = (WatchSender::new(table()), WatchSender::new(Health::default()));
    let scope = SearchScope::new("vms", "svc.cluster.local").with_search_domain("corp.example");
    let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
        .with_upstream(Upstream::none())
        .build()
        .unwrap();
    for (name, known) in [
        ("forecast.weather.svc.cluster.local", true),
        ("Forecast.Weather.svc.Cluster.Local.", true),
        ("forecast.weather", true),
        ("forecast.weather.svc", true),
        ("db", true),
        ("a.b.wildcard", true),
        ("forecast.weather.corp.example", true),
        ("eight.example", true),
        ("www.example.org", false),
    ] {
        // The first lookup initialises thread-local state.
        assert_eq!(resolver.try_lookup(name).is_some(), known, "{name}");
        let used = measure(|| drop(resolver.try_lookup(name)));
        assert_eq!(used.count_total, 0, "{name}: {used:?}");
        // The first lookup of a name allocates in the reverse index. Several addresses are on the heap.
        let found = resolver.try_lookup_ip(name);
        assert_eq!(found.is_some(), known, "{name}");
        let expected = u64::from(found.is_some_and(|found| found.addresses().len() > 1));
        let used = measure(|| drop(resolver.try_lookup_ip(name)));
        assert_eq!(used.count_total, expected, "{name}, the complete answer: {used:?}");
    }
    let used = measure(|| {
        let table = names.load();
        assert_eq!(table.get("hundred.example").unwrap().ipv4().len(), 100);
    });
    assert_eq!(used.count_total, 0, "reading the table directly: {used:?}");
    assert!(measure(|| drop(resolver.try_lookup("hundred.example"))).count_total > 0, "the counter works");
}
