//! Streams that end, hang, move and come back, under tokio's paused clock.

use std::{collections::HashSet, time::Duration};

use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};
use xds_proto::{
    any,
    envoy::config::cluster::v3::Cluster as WireCluster,
    google::protobuf::Any,
    istio::networking::nds::v1::{NameTable, name_table::NameInfo},
    type_url,
};

use crate::{
    client::NdsClient,
    error::ErrorKind,
    health::{Health, SyncState},
    resources,
    testing::{Door, FORECAST, Istiod, mesh},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(20);

async fn joined() -> (tempfile::TempDir, Istiod, NdsClient) {
    let (dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    (dir, istiod, client)
}

/// Waits until a name is there, which nobody else may have spoilt.
async fn name(client: &NdsClient, istiod: &Istiod, name: &str) {
    istiod.set_names(&[(name, "10.9.9.9")]);
    client.names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
}

async fn health(client: &NdsClient, like: impl Fn(&Health) -> bool) -> Health {
    let found = timeout(2 * HOUR, client.health().clone().wait_for(like)).await;
    (*found.unwrap_or_else(|_| panic!("{:?}", client.health().get())).unwrap()).clone()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_istiod_ends_and_takes_back_was_never_away() {
    let (_dir, istiod, client) = joined().await;
    let mut seen = client.health().clone();
    for round in 2..5 {
        istiod.end_streams();
        tokio::select! {
            () = istiod.opened(round) => {}
            told = seen.wait_for(|health| !health.is_ok()) => panic!("{told:?}"),
        }
        name(&client, &istiod, &format!("round-{round}.example")).await;
        assert!(client.health().get().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_istiod_that_dies_is_told_at_once_and_what_it_said_still_holds() {
    let (_dir, istiod, client) = joined().await;
    istiod.crash();
    let told = health(&client, |health| matches!(health.sync, SyncState::Stale { .. })).await;
    assert_eq!(told.stream.unwrap().kind(), ErrorKind::Unavailable);
    assert_eq!(client.names().get().len(), 1);
    istiod.set_door(Door::Open);
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_that_hangs_is_told_after_a_grace() {
    let (_dir, istiod, client) = joined().await;
    istiod.set_door(Door::Silent);
    let (start, ended) = (Instant::now(), istiod.clock().now());
    istiod.end_streams();
    let told = health(&client, |health| health.sync != SyncState::Synced).await;
    assert_eq!(start.elapsed().as_secs(), 5);
    let SyncState::Stale { since } = told.sync else { panic!("{told:?}") };
    assert!(since.duration_since(ended).unwrap() < Duration::from_secs(1), "since the end of the stream");
}

#[tokio::test(start_paused = true)]
async fn an_istiod_that_never_answers_is_told_and_joined_when_it_does() {
    let (_dir, istiod, config) = mesh();
    istiod.set_door(Door::Mute);
    let start = Instant::now();
    let client = istiod.spawn(config);
    let told = health(&client, |health| health.stream.is_some()).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    let error = told.stream.unwrap();
    assert!(error.to_string().contains("NameTable"), "{error}");
    istiod.set_door(Door::Open);
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_falls_silent_is_given_up_for_another_address() {
    let (_dir, istiod, client) = joined().await;
    istiod.set_door(Door::Mute);
    let error = client.wait_for_clusters(PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let told = health(&client, |health| health.stream.is_some()).await;
    assert!(told.stream.unwrap().to_string().contains("Cluster"));
    istiod.set_door(Door::Open);
    client.wait_for_clusters(MINUTE).await.unwrap();
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_dead_without_a_word_is_noticed_by_its_pings() {
    let (_dir, istiod, client) = joined().await;
    istiod.freeze();
    let start = Instant::now();
    name(&client, &istiod, "pulled.example").await;
    assert_eq!(istiod.streams(), 2);
    assert!(start.elapsed() <= Duration::from_secs(45), "{:?}", start.elapsed());
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_swallows_everything_does_not_hold_up_the_next() {
    let (_dir, istiod, config) = mesh();
    let swallows = ([10, 0, 0, 0], 15012).into();
    istiod.set_addresses(vec![swallows, swallows, ([10, 0, 0, 3], 15012).into()]);
    let start = Instant::now();
    let _client = istiod.join(config).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 4, "two seconds for the certificate and two for the stream");
}

#[tokio::test(start_paused = true)]
async fn the_name_of_istiod_is_resolved_anew_for_each_stream() {
    let (_dir, istiod, client) = joined().await;
    let before = istiod.resolved();
    istiod.end_streams();
    name(&client, &istiod, "next.example").await;
    istiod.opened(2).await;
    assert_eq!(istiod.resolved(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_ends_is_renewed_each_hour_without_a_word() {
    let (_dir, istiod, client) = joined().await;
    let mut seen = client.health().clone();
    let renewed = async {
        tokio::select! {
            () = istiod.opened(4) => {}
            told = seen.wait_for(|health| health.sync != SyncState::Synced) => panic!("{told:?}"),
        }
    };
    timeout(4 * HOUR, renewed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_nobody_asks_for_are_dropped_and_come_back() {
    let (_dir, istiod, client) = joined().await;
    client.wait_for_endpoints(FORECAST, PATIENCE).await.unwrap();
    client.wait_for_endpoints("busy", PATIENCE).await.unwrap();
    for _ in 0..12 {
        sleep(MINUTE).await;
        client.wait_for_endpoints("busy", PATIENCE).await.unwrap();
    }
    istiod.requested(|request| request.resource_names_unsubscribe == [FORECAST]).await;
    let asked = |istiod: &Istiod| {
        let subscribes = istiod.requests().into_iter().map(|request| request.resource_names_subscribe);
        subscribes.filter(|names| names.iter().any(|name| name == FORECAST)).count()
    };
    assert_eq!(asked(&istiod), 1);
    client.wait_for_endpoints(FORECAST, PATIENCE).await.unwrap();
    assert_eq!(asked(&istiod), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handle_to_endpoints_that_were_dropped_subscribes_again_when_it_is_used() {
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
    assert!(!endpoints.changed().await, "no further ones can come");
    assert!(endpoints.current().is_some(), "the last ones stay");
}

#[tokio::test(start_paused = true)]
async fn endpoints_outlive_an_outage_however_long_nobody_asks_for_them() {
    let (_dir, istiod, client) = joined().await;
    client.wait_for_endpoints(FORECAST, PATIENCE).await.unwrap();
    istiod.crash();
    sleep(DAY / 4).await;
    client.wait_for_endpoints(FORECAST, Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_push_that_was_rejected_is_forgotten_with_the_next_good_one_of_its_type() {
    let (_dir, istiod, client) = joined().await;
    let broken = Any { value: vec![0x0a, 0xff].into(), ..Any::default() };
    istiod.set_resource(type_url::NAME_TABLE, "", broken);
    let told = health(&client, |health| health.rejected.is_some()).await;
    assert_eq!((told.sync, client.names().get().len()), (SyncState::Synced, 1));
    client.wait_for_clusters(PATIENCE).await.unwrap();
    assert!(client.health().get().rejected.is_some(), "clusters say nothing about names");
    name(&client, &istiod, "good.example").await;
    health(&client, Health::is_ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_push_of_sixty_megabytes_arrives_and_one_of_no_names_after_it_too() {
    let (_dir, istiod, client) = joined().await;
    let info = NameInfo { ips: vec!["10.0.0.1".into()], ..NameInfo::default() };
    let mut wire = NameTable { table: [("large.example".to_owned(), info)].into() }.encode_to_vec();
    // A field that nobody knows yet makes up the weight.
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
async fn dropping_the_last_handle_leaves_no_task_and_no_connection() {
    let (_dir, istiod, config) = mesh();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = istiod.join(config).await.unwrap();
    client.wait_for_clusters(PATIENCE).await.unwrap();
    assert!(tasks() > before);
    let names = client.names().clone();
    drop((client.clone(), client));
    // Under the paused clock, all tasks that can do something have done it after any time.
    sleep(MINUTE).await;
    assert_eq!(tasks(), before, "istiod's tasks end with the connections, and ours with the handle");
    assert_eq!(names.get().len(), 1, "the last values stay");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_an_istiod_that_comes_and_goes_ends_in_sync_and_never_loses_a_name() {
    let (_dir, istiod, client) = joined().await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut pushed = HashSet::new();
    let end = Instant::now() + DAY;
    while Instant::now() < end {
        let doors = [Door::Open, Door::Open, Door::Closed, Door::Silent, Door::Mute];
        istiod.set_door(doors[random.usize(..doors.len())]);
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
    istiod.set_door(Door::Open);
    istiod.set_resource(
        type_url::CLUSTER,
        FORECAST,
        any::pack(type_url::CLUSTER, &WireCluster { name: FORECAST.into(), ..WireCluster::default() }),
    );
    health(&client, Health::is_ok).await;
    name(&client, &istiod, "evening.example").await;
    assert_eq!(client.wait_for_clusters(MINUTE).await.unwrap().len(), 1);
}
