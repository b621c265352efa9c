//! Streams that end, stall, move and return, under tokio's paused clock.

use std::{collections::HashSet, time::Duration};

use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};
use xds_proto::{
    any,
    envoy::config::cluster::v3::{Cluster as WireCluster, cluster::EdsClusterConfig},
    google::protobuf::Any,
    istio::networking::nds::v1::{NameTable, name_table::NameInfo},
    type_url,
};

use crate::{
    client::NdsClient,
    error::ErrorKind,
    health::{Health, SyncState},
    resources,
    testing::{Connectivity, FORECAST, Istiod, mesh},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

async fn joined() -> (tempfile::TempDir, Istiod, NdsClient) {
    let (dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    (dir, istiod, client)
}

/// Waits for a name.
async fn name(client: &NdsClient, istiod: &Istiod, name: &str) {
    istiod.set_names(&[(name, "10.9.9.9")]);
    client.names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
}

async fn health(client: &NdsClient, like: impl Fn(&Health) -> bool) -> Health {
    let found = timeout(2 * HOUR, client.health().clone().wait_for(like)).await;
    (*found.unwrap_or_else(|_| panic!("{:?}", client.health().get())).unwrap()).clone()
}

#[tokio::test(start_paused = true)]
async fn a_stream_replaced_within_the_grace_period_never_makes_the_health_stale() {
    let (_dir, istiod, client) = joined().await;
    let mut seen = client.health().clone();
    for round in 2..5 {
        istiod.end_streams();
        tokio::select! {
            () = istiod.opened(round) => {}
            reported = seen.wait_for(|health| !health.is_ok()) => panic!("{reported:?}"),
        }
        name(&client, &istiod, &format!("round-{round}.example")).await;
        assert!(client.health().get().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_istiod_is_reported_immediately_and_the_values_stay() {
    let (_dir, istiod, client) = joined().await;
    istiod.crash();
    let reported = health(&client, |health| matches!(health.sync, SyncState::Stale { .. })).await;
    assert_eq!(reported.stream.unwrap().kind(), ErrorKind::Unavailable);
    assert_eq!(client.names().get().len(), 1);
    istiod.set_connectivity(Connectivity::Open);
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_reconnect_is_reported_after_the_grace_period() {
    let (_dir, istiod, client) = joined().await;
    istiod.set_connectivity(Connectivity::Unresponsive);
    let (start, ended) = (Instant::now(), istiod.clock().now());
    istiod.end_streams();
    let reported = health(&client, |health| health.sync != SyncState::Synced).await;
    assert_eq!(start.elapsed().as_secs(), 5);
    let SyncState::Stale { since } = reported.sync else { panic!("{reported:?}") };
    assert!(
        since.duration_since(ended).unwrap() < Duration::from_secs(1),
        "counted from the end of the stream"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_istiod_is_reported_and_joined_when_it_answers() {
    let (_dir, istiod, config) = mesh();
    istiod.set_connectivity(Connectivity::NoResponses);
    let start = Instant::now();
    let client = istiod.spawn(config);
    let reported = health(&client, |health| health.stream.is_some()).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    let error = reported.stream.unwrap();
    assert!(error.to_string().contains("NameTable"), "{error}");
    istiod.set_connectivity(Connectivity::Open);
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_is_replaced_by_one_to_another_address() {
    let (_dir, istiod, client) = joined().await;
    istiod.set_connectivity(Connectivity::NoResponses);
    let error = client.wait_for_clusters(RESPONSE_TIMEOUT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let reported = health(&client, |health| health.stream.is_some()).await;
    assert!(reported.stream.unwrap().to_string().contains("Cluster"));
    istiod.set_connectivity(Connectivity::Open);
    client.wait_for_clusters(MINUTE).await.unwrap();
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_connection_is_detected_by_pings() {
    let (_dir, istiod, client) = joined().await;
    istiod.freeze();
    let start = Instant::now();
    name(&client, &istiod, "pulled.example").await;
    assert_eq!(istiod.streams(), 2);
    assert!(start.elapsed() <= Duration::from_secs(45), "{:?}", start.elapsed());
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_address_does_not_block_the_next() {
    let (_dir, istiod, config) = mesh();
    let swallows = ([10, 0, 0, 0], 15012).into();
    istiod.set_addresses(vec![swallows, swallows, ([10, 0, 0, 3], 15012).into()]);
    let start = Instant::now();
    let _client = istiod.join(config).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 4, "two seconds for the certificate and two for the stream");
}

#[tokio::test(start_paused = true)]
async fn the_name_of_istiod_is_resolved_for_each_stream() {
    let (_dir, istiod, client) = joined().await;
    let before = istiod.resolved();
    istiod.end_streams();
    name(&client, &istiod, "next.example").await;
    istiod.opened(2).await;
    assert_eq!(istiod.resolved(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_is_replaced_every_hour_without_a_failure() {
    let (_dir, istiod, client) = joined().await;
    let mut seen = client.health().clone();
    let renewed = async {
        tokio::select! {
            () = istiod.opened(4) => {}
            reported = seen.wait_for(|health| health.sync != SyncState::Synced) => panic!("{reported:?}"),
        }
    };
    timeout(4 * HOUR, renewed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unused_endpoints_are_dropped_and_return_on_use() {
    let (_dir, istiod, client) = joined().await;
    client.wait_for_endpoints(FORECAST, RESPONSE_TIMEOUT).await.unwrap();
    client.wait_for_endpoints("busy", RESPONSE_TIMEOUT).await.unwrap();
    for _ in 0..12 {
        sleep(MINUTE).await;
        client.wait_for_endpoints("busy", RESPONSE_TIMEOUT).await.unwrap();
    }
    istiod.requested(|request| request.resource_names_unsubscribe == [FORECAST]).await;
    let asked = |istiod: &Istiod| {
        let subscribes = istiod.requests().into_iter().map(|request| request.resource_names_subscribe);
        subscribes.filter(|names| names.iter().any(|name| name == FORECAST)).count()
    };
    assert_eq!(asked(&istiod), 1);
    client.wait_for_endpoints(FORECAST, RESPONSE_TIMEOUT).await.unwrap();
    assert_eq!(asked(&istiod), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handle_to_dropped_endpoints_subscribes_again_on_use() {
    let (_dir, istiod, client) = joined().await;
    let mut endpoints = client.endpoints(FORECAST);
    assert!(endpoints.wait_for(|_| true).await.is_some() && endpoints.is_subscribed());
    let mut dropped = endpoints.clone();
    while dropped.is_subscribed() {
        assert!(dropped.changed().await);
    }
    istiod.requested(|request| request.resource_names_unsubscribe == [FORECAST]).await;
    assert_eq!(endpoints.current(), None);
    assert!(endpoints.is_subscribed());
    assert!(endpoints.wait_for(|_| true).await.is_some());
    drop(client);
    assert!(!endpoints.changed().await, "no further change is possible");
    assert!(endpoints.current().is_some(), "the last endpoints stay readable");
}

#[tokio::test(start_paused = true)]
async fn unused_endpoints_are_not_dropped_during_an_outage() {
    let (_dir, istiod, client) = joined().await;
    client.wait_for_endpoints(FORECAST, RESPONSE_TIMEOUT).await.unwrap();
    istiod.crash();
    sleep(DAY / 4).await;
    client.wait_for_endpoints(FORECAST, Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_valid_push_clears_the_rejection_of_its_type() {
    let (_dir, istiod, client) = joined().await;
    let broken = Any { value: vec![0x0a, 0xff].into(), ..Any::default() };
    istiod.set_resource(type_url::NAME_TABLE, "", broken);
    let reported = health(&client, |health| health.rejected.is_some()).await;
    assert_eq!((reported.sync, client.names().get().len()), (SyncState::Synced, 1));
    client.wait_for_clusters(RESPONSE_TIMEOUT).await.unwrap();
    assert!(
        client.health().get().rejected.is_some(),
        "a push of clusters does not clear a rejection of names"
    );
    name(&client, &istiod, "good.example").await;
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_push_of_sixty_megabytes_and_an_empty_one_are_received() {
    let (_dir, istiod, client) = joined().await;
    let info = NameInfo { ips: vec!["10.0.0.1".into()], ..NameInfo::default() };
    let mut wire = NameTable { table: [("large.example".to_owned(), info)].into() }.encode_to_vec();
    // A field with an unknown number makes the message large.
    prost::encoding::bytes::encode(99, &vec![0u8; 60 << 20], &mut wire);
    let large = Any { type_url: type_url::NAME_TABLE.into(), value: wire.into() };
    istiod.set_resource(type_url::NAME_TABLE, "", large);
    let mut names = client.names().clone();
    names.wait_for(|names| names.get("large.example").is_some()).await.unwrap();
    istiod.set_names(&[]);
    names.wait_for(resources::name_table::NameTable::is_empty).await.unwrap();
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_push_above_the_size_limit_is_reported_until_a_smaller_one_arrives() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config.with(|config| config.max_push_bytes = 64 << 10)).await.unwrap();
    let push = |host: String| {
        let eds = EdsClusterConfig { service_name: host };
        let cluster =
            WireCluster { name: FORECAST.into(), eds_cluster_config: Some(eds), ..WireCluster::default() };
        istiod.set_resource(type_url::CLUSTER, FORECAST, any::pack(type_url::CLUSTER, &cluster));
    };
    push("a".repeat(100 << 10));
    let _clusters = client.clusters();
    let reported = health(&client, |health| health.rejected.is_some()).await;
    let error = reported.rejected.unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidResource);
    assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
    assert_eq!(client.names().get().len(), 1, "the names stay");
    let streams = istiod.streams();
    sleep(MINUTE).await;
    assert!(istiod.streams() - streams < 60, "the client waits longer before each stream");
    push("short".into());
    health(&client, Health::is_ok).await;
    assert_eq!(client.wait_for_clusters(MINUTE).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_all_tasks_and_connections() {
    let (_dir, istiod, config) = mesh();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = istiod.join(config).await.unwrap();
    client.wait_for_clusters(RESPONSE_TIMEOUT).await.unwrap();
    assert!(tasks() > before);
    let names = client.names().clone();
    drop((client.clone(), client));
    // Under the paused clock, all tasks that can run have run after any sleep.
    sleep(MINUTE).await;
    assert_eq!(tasks(), before, "all tasks have ended");
    assert_eq!(names.get().len(), 1, "the last values stay readable");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_outages_ends_in_sync_and_loses_no_name() {
    let (_dir, istiod, client) = joined().await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut pushed = HashSet::new();
    let end = Instant::now() + DAY;
    while Instant::now() < end {
        let connectivities = [
            Connectivity::Open,
            Connectivity::Open,
            Connectivity::Closed,
            Connectivity::Unresponsive,
            Connectivity::NoResponses,
        ];
        istiod.set_connectivity(connectivities[random.usize(..connectivities.len())]);
        match random.u8(..3) {
            0 => istiod.crash(),
            1 => istiod.end_streams(),
            _ => {}
        }
        let name = format!("service-{}.example", random.u16(..));
        istiod.set_names(&[("always.example", "10.0.0.1"), (&name, "10.0.0.2")]);
        pushed.insert(name);
        sleep(Duration::from_secs(random.u64(1..1800))).await;
        let names = client.names().get();
        assert!(names.iter().all(|entry| {
            let name = entry.name();
            name == "always.example" || name.starts_with("forecast") || pushed.contains(name)
        }));
        assert!(!names.is_empty());
    }
    istiod.set_connectivity(Connectivity::Open);
    istiod.set_resource(
        type_url::CLUSTER,
        FORECAST,
        any::pack(type_url::CLUSTER, &WireCluster { name: FORECAST.into(), ..WireCluster::default() }),
    );
    health(&client, Health::is_ok).await;
    name(&client, &istiod, "evening.example").await;
    assert_eq!(client.wait_for_clusters(MINUTE).await.unwrap().len(), 1);
}
