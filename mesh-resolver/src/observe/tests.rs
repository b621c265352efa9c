#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[cfg(feature = "metrics")]
mod metrics;

use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::events;
use crate::{MeshResolver, SearchScope, Upstream};

const FORECAST: &str = "forecast.weather.svc.cluster.local";

fn mesh_resolver(upstream: Upstream) -> MeshResolver {
    let info = NameInfo { ips: vec!["10.1.2.3".into()], ..NameInfo::default() };
    let wire = Wire { table: [(FORECAST.to_owned(), info)].into() };
    let table = NameTable::decode(&wire.encode_to_vec()).unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), SearchScope::default());
    builder.with_upstream(upstream).build().unwrap()
}

#[test]
fn each_lookup_is_logged_at_debug_with_its_name_and_outcome() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = mesh_resolver(Upstream::none());
    let logged = |name: &str| {
        let events = events::of(|| drop(runtime.block_on(resolver.lookup_ip(name))));
        let log = events
            .into_iter()
            .filter(|event| event.contains("resolved") || event.contains("failed"))
            .collect::<Vec<_>>();
        assert_eq!(log.len(), 1, "{log:?}");
        log[0].clone()
    };
    assert_eq!(
        logged(FORECAST),
        format!(
            "DEBUG resolved host=\"{FORECAST}\" source=\"mesh\" name=\"{FORECAST}\" addresses=[10.1.2.3]"
        )
    );
    assert!(logged("localhost").starts_with("DEBUG resolved host=\"localhost\" source=\"hosts_file\""));
    let unknown = logged("www.example.org");
    assert!(unknown.starts_with("DEBUG lookup failed host=\"www.example.org\" error="), "{unknown}");
}
