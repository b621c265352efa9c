use nds_client::{health::Health, watch::WatchSender};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::*;

const FORECAST: &str = "forecast.weather.svc.cluster.local";

fn table() -> NameTable {
    let info = NameInfo {
        ips: vec!["10.1.2.3".into()],
        registry: "Kubernetes".into(),
        shortname: "forecast".into(),
        namespace: "weather".into(),
        ..NameInfo::default()
    };
    NameTable::decode(&Wire { table: [(FORECAST.to_owned(), info)].into() }.encode_to_vec()).unwrap()
}

/// The published values, and a source that reads them.
struct Published {
    names: WatchSender<NameTable>,
    health: WatchSender<Health>,
    source: NameSource,
}

impl Published {
    fn new(table: NameTable, state: SyncState) -> Self {
        let mut health = Health::default();
        health.sync = state;
        let (names, health) = (WatchSender::new(table), WatchSender::new(health));
        let source = NameSource {
            names: names.subscribe(),
            sync: SyncWatch::new(health.subscribe()),
            scope: SearchScope::new("vms", "svc.cluster.local"),
            policy: AnswerPolicy::default(),
            first_table_timeout: Duration::ZERO,
            istiod: Box::default(),
            short_names_upstream: false,
        };
        Self { names, health, source }
    }

    fn class(&self, name: &str) -> &'static str {
        match self.source.load().classify(name) {
            Ok(_) => "mesh",
            Err(NotMesh::Literal(_)) => "literal",
            Err(NotMesh::NotReady) => "not ready",
            Err(NotMesh::NoLocalAddress(_)) => "no local address",
            Err(NotMesh::Unknown) => "unknown",
        }
    }
}

#[test]
fn each_name_has_one_class() {
    let synced = Published::new(table(), SyncState::Synced);
    for (name, class) in [
        (FORECAST, "mesh"),
        ("Forecast.Weather.", "mesh"),
        ("192.0.2.1", "literal"),
        ("[::1]", "literal"),
        ("www.example.org", "unknown"),
        ("bücher.example", "unknown"),
        ("", "unknown"),
        (".", "unknown"),
    ] {
        assert_eq!(synced.class(name), class, "{name}");
    }
}

/// A mesh may have no names. A table with names was sent, whatever the state is.
#[test]
fn a_name_is_unknown_only_after_istiod_has_sent_a_table() {
    for (table, state, class) in [
        (NameTable::default(), SyncState::Connecting, "not ready"),
        (NameTable::default(), SyncState::Synced, "unknown"),
        (NameTable::default(), SyncState::FromDisk { age: Duration::ZERO }, "unknown"),
        (table(), SyncState::Connecting, "unknown"),
    ] {
        let published = Published::new(table, state.clone());
        assert_eq!(published.class("www.example.org"), class, "{state:?}");
        assert_eq!(published.class("192.0.2.1"), "literal", "{state:?}");
    }
}

/// No name counts as unknown while the first table arrives: the lookup waits for the table.
#[test]
fn a_first_table_that_arrives_during_a_lookup_is_not_missed() {
    let published = Published::new(NameTable::default(), SyncState::Connecting);
    let before = published.source.load();
    published.names.send(table());
    assert_eq!(before.classify(FORECAST).unwrap_err(), NotMesh::NotReady);
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    published.health.send(health);
    assert_eq!(before.classify(FORECAST).unwrap_err(), NotMesh::NotReady);
    assert_eq!(published.class(FORECAST), "mesh");
}
