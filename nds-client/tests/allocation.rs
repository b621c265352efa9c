//! What the name table takes from the allocator: nothing per name, and nothing per lookup. Counted per thread, by an
//! allocator of this binary alone.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{hint::black_box, sync::Arc};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use nds_client::{NameTable, WatchSender};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

/// Services of one and of several addresses, of both families, and of other registries.
fn wire(names: usize) -> Bytes {
    let entry = |at: usize| {
        let (short_name, namespace) = (format!("service-{at}"), format!("namespace-{}", at % 100));
        let name = format!("{short_name}.{namespace}.svc.cluster.local");
        let mut info = NameInfo {
            ips: vec![format!("10.{}.{}.{}", at >> 16, at >> 8 & 255, at & 255)],
            registry: "Kubernetes".into(),
            shortname: short_name,
            namespace,
            ..NameInfo::default()
        };
        match at % 10 {
            0 => info.ips.extend([format!("2001:db8::{at:x}"), "192.0.2.1".into()]),
            1 => info.registry = "External".into(),
            _ => {}
        }
        (name, info)
    };
    Wire { table: (0..names).map(entry).collect() }.encode_to_vec().into()
}

fn decoding(wire: &Bytes) -> AllocationInfo {
    measure(|| {
        black_box(NameTable::decode(wire.clone()).unwrap());
    })
}

#[test]
fn decoding_allocates_nothing_per_name() {
    let [few, many] = [100, 20_000].map(|names| decoding(&wire(names)).count_total);
    // What grows with the names are a few lists, each of which doubles.
    assert!(few <= 30 && many <= few + 30, "{few} and {many}");
}

#[test]
fn a_table_is_shorter_than_the_wire_and_is_made_within_the_length_of_both() {
    const NAMES: usize = 20_000;
    let wire = wire(NAMES);
    let mut table = None;
    let made = measure(|| table = NameTable::decode(wire.clone()).ok());
    let (kept, most) =
        (usize::try_from(made.bytes_current).unwrap(), usize::try_from(made.bytes_max).unwrap());
    assert_eq!(table.map(|table| table.len()), Some(NAMES));
    assert!(kept < wire.len(), "{kept} bytes of {}", wire.len());
    assert!(most <= wire.len() + kept, "{most} bytes while it is made, {kept} afterwards");
}

#[test]
fn a_push_that_says_the_same_leaves_nothing_behind() {
    let wire = wire(1000);
    let table = NameTable::decode(wire.clone()).unwrap().after(&NameTable::default()).unwrap();
    let again = measure(|| assert!(NameTable::decode(wire.clone()).unwrap().after(&table).is_none()));
    assert_eq!((again.bytes_current, again.count_current), (0, 0));
    let compared = NameTable::decode(wire).unwrap();
    let comparison = measure(|| drop(black_box(compared.after(&table))));
    assert_eq!(comparison.count_total, 0, "{comparison:?}");
}

#[test]
fn a_lookup_in_the_published_table_allocates_nothing_while_tables_are_replaced() {
    let table = NameTable::decode(wire(1000)).unwrap();
    let sender = WatchSender::new(table.clone());
    let reader = sender.subscribe();
    let look = || {
        let names = reader.load();
        assert!(names.get("nobody.svc.cluster.local").is_none());
        let dual = names.get("service-10.namespace-10.svc.cluster.local").unwrap();
        assert_eq!((dual.ipv4().len(), dual.ipv6().len()), (2, 1));
        assert_eq!((dual.short_name(), dual.namespace()), ("service-10", "namespace-10"));
    };
    // The first use in a thread sets up the thread's own state.
    look();
    for _ in 0..3 {
        sender.send(Arc::new(table.clone()));
        let used = measure(look);
        assert_eq!(used.count_total, 0, "{used:?}");
    }
}
