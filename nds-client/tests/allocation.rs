//! Memory allocations of the name table: none per name and none per lookup. An allocator of this binary counts them per
//! thread.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{hint::black_box, sync::Arc};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use nds_client::{resources::name_table::NameTable, watch::WatchSender};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

/// Returns services with one and with several addresses, of both address families and of different registries.
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
        black_box(NameTable::decode(wire).unwrap());
    })
}

#[test]
fn decoding_allocates_nothing_per_name() {
    let [few, many] = [100, 20_000].map(|names| decoding(&wire(names)).count_total);
    // The number of lists is constant; each list grows by doubling.
    assert!(few <= 30 && many <= few + 30, "{few} and {many}");
}

#[test]
fn a_table_is_smaller_than_its_message_and_decoding_needs_no_more_than_both() {
    const NAMES: usize = 20_000;
    let wire = wire(NAMES);
    let mut table = None;
    let made = measure(|| table = NameTable::decode(&wire).ok());
    let (retained, most) =
        (usize::try_from(made.bytes_current).unwrap(), usize::try_from(made.bytes_max).unwrap());
    assert_eq!(table.map(|table| table.len()), Some(NAMES));
    assert!(retained < wire.len(), "{retained} bytes of {}", wire.len());
    assert!(most <= wire.len() + retained, "{most} bytes during decoding, {retained} afterwards");
}

#[test]
fn an_unchanged_push_retains_no_memory() {
    let wire = wire(1000);
    let table = NameTable::decode(&wire).unwrap().after(&NameTable::default()).unwrap();
    let again = measure(|| assert!(NameTable::decode(&wire).unwrap().after(&table).is_none()));
    assert_eq!((again.bytes_current, again.count_current), (0, 0));
    let compared = NameTable::decode(&wire).unwrap();
    let comparison = measure(|| drop(black_box(compared.after(&table))));
    assert_eq!(comparison.count_total, 0, "{comparison:?}");
}

#[test]
fn a_lookup_allocates_nothing_while_tables_are_replaced() {
    let table = NameTable::decode(&wire(1000)).unwrap();
    let sender = WatchSender::new(table.clone());
    let reader = sender.subscribe();
    let look = || {
        let names = reader.load();
        assert!(names.get("nobody.svc.cluster.local").is_none());
        let dual = names.get("service-10.namespace-10.svc.cluster.local").unwrap();
        assert_eq!((dual.ipv4().len(), dual.ipv6().len()), (2, 1));
        assert_eq!((dual.short_name(), dual.namespace()), ("service-10", "namespace-10"));
    };
    // The first use in a thread initializes thread-local state.
    look();
    for _ in 0..3 {
        sender.send(Arc::new(table.clone()));
        let used = measure(look);
        assert_eq!(used.count_total, 0, "{used:?}");
    }
}
