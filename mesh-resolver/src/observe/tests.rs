#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "metrics")]
mod counted;

use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::events;
use crate::{MeshResolver, Scope, Upstream};

const FORECAST: &str = "forecast.weather.svc.cluster.local";

fn of_the_mesh(upstream: Upstream) -> MeshResolver {
    let info = NameInfo { ips: vec!["10.1.2.3".into()], ..NameInfo::default() };
    let wire = Wire { table: [(FORECAST.to_owned(), info)].into() };
    let table = NameTable::decode(&wire.encode_to_vec()).unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), Scope::default());
    builder.with_upstream(upstream).build().unwrap()
}

/// The query log.
#[test]
fn each_lookup_is_told_at_debug_with_the_name_and_what_became_of_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = of_the_mesh(Upstream::none());
    let told = |name: &str| {
        let told = events::of(|| drop(runtime.block_on(resolver.lookup_ip(name))));
        let log = told.into_iter().filter(|event| event.contains("resolved")).collect::<Vec<_>>();
        assert_eq!(log.len(), 1, "{log:?}");
        log[0].clone()
    };
    assert_eq!(
        told(FORECAST),
        format!(
            "DEBUG resolved host=\"{FORECAST}\" source=\"mesh\" name=\"{FORECAST}\" addresses=[10.1.2.3]"
        )
    );
    assert!(told("localhost").starts_with("DEBUG resolved host=\"localhost\" source=\"hosts\""));
    let unknown = told("www.example.org");
    assert!(unknown.starts_with("DEBUG not resolved host=\"www.example.org\" error="), "{unknown}");
}
