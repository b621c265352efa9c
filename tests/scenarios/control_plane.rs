//! An unavailable or misbehaving control plane changes the health of the client and not its state.

use mesh_connector::nds_client::{ErrorKind, health::SyncState};
use mesh_sandbox::Event;

use super::stage;

const FORECAST: &str = "forecast.weather.svc.cluster.local";

#[tokio::test]
async fn an_invalid_name_table_is_rejected_once_and_the_previous_one_stays_in_use() {
    let stage = stage().await;
    let mut health = stage.mesh.health().membership().clone();
    stage.sandbox.push_invalid_name_table();
    let health = health.wait_for(|health| health.rejected.is_some()).await.unwrap();
    assert_eq!(health.rejected.as_ref().unwrap().kind(), ErrorKind::InvalidResource);
    assert_eq!(health.sync, SyncState::Synced);
    assert!(stage.mesh.client().names().get().get(FORECAST).is_some());
    stage.sandbox.events().wait(|event| matches!(event, Event::AdsRejected(_)).then_some(())).await;

    // A later valid push is applied, and nothing is rejected a second time.
    let yaml = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: later, namespace: payments}
spec:
  hosts: [later.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 2.2.2.9}]
";
    stage.sandbox.apply("cluster1", yaml).unwrap();
    stage.mesh.client().names().clone().wait_for(|names| names.get("later.example").is_some()).await.unwrap();
    assert_eq!(stage.sandbox.rejections().len(), 1);
    assert!(!stage.sandbox.events().all().iter().any(|event| matches!(event, Event::IstiodCrashed { .. })));
}

#[tokio::test]
async fn an_open_connection_is_not_affected_when_istiod_stops() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    let stage = stage().await;
    let stream = stage.mesh.connect("ledger.payments.example", 5432).await.unwrap();
    let mut stream = BufReader::new(stream);
    stage.sandbox.stop_istiod().await;
    let mut health = stage.mesh.health().membership().clone();
    health.wait_for(|health| matches!(health.sync, SyncState::Stale { .. })).await.unwrap();
    stream.get_mut().write_all(b"still there?\n").await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    assert!(answer.ends_with("still there?\n"), "{answer}");
    let lookup = stage.mesh.raw_resolver().lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(lookup.mesh_name(), Some(FORECAST));
    stage.sandbox.restore_istiod().unwrap();
    health.wait_for(|health| health.sync == SyncState::Synced).await.unwrap();
}

#[tokio::test]
async fn a_deleted_service_loses_its_endpoints_and_its_name() {
    let stage = stage().await;
    let host = "archive.weather.svc.cluster.local";
    let clusters = stage.mesh.client().wait_for_clusters(std::time::Duration::from_secs(10)).await.unwrap();
    let cluster = clusters.for_host(host)[0].clone();
    stage.mesh.connect(host, cluster.name.port).await.unwrap();
    stage.sandbox.delete("cluster2", "Service", "weather", "archive").unwrap();
    stage.mesh.client().names().clone().wait_for(|names| names.get(host).is_none()).await.unwrap();
    let mut clusters = stage.mesh.client().clusters().clone();
    clusters.wait_for(|all| all.as_ref().is_some_and(|all| !all.has_host(host))).await.unwrap();
    assert!(stage.mesh.connect(host, cluster.name.port).await.is_err());
}
