//! The faults that tests can inject.

use std::time::Duration;

use mesh_sandbox::Event;
use tonic::Code;
use xds_proto::istio::networking::nds::v1::NameTable;
use xds_proto::{any, type_url};

use crate::client::{Client, names, node};
use crate::mesh::{Folder, service, tour};

#[tokio::test]
async fn istiod_restarts_on_the_same_port_with_the_changes_of_the_meantime() {
    let sandbox = tour().await;
    let address = sandbox.istiod_address();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    sandbox.stop_istiod().await;
    assert_ne!(ads.end().await.code(), Code::Ok);
    assert!(Client::vm(&sandbox).ads().await.is_err());
    sandbox.apply("cluster1", &service("web", "10.1.0.9")).unwrap();
    sandbox.restore_istiod().unwrap();
    assert_eq!(sandbox.istiod_address(), address);
    let (mut ads, mut table) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    while !table.table.contains_key("web.a.svc.cluster.local") {
        table = names(&ads.next_of(type_url::NAME_TABLE).await);
    }
    sandbox.restore_istiod().unwrap();
}

#[tokio::test]
async fn an_invalid_name_table_is_pushed_once_and_its_nack_is_recorded() {
    let sandbox = tour().await;
    let (mut ads, before) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    sandbox.push_invalid_name_table();
    let response = ads.next().await;
    let resource = response.resources[0].resource.as_ref().unwrap();
    assert!(any::unpack::<NameTable>(resource).is_err());
    ads.nack(type_url::NAME_TABLE, &response.nonce, "does not decode").await;
    assert!(ads.silence().await.is_empty());
    assert_eq!(sandbox.rejections()[0].nonce, response.nonce);
    let (_, table) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    assert_eq!(table, before, "other clients get the valid table");
}

#[tokio::test]
async fn a_slow_istiod_responds_late() {
    const DELAY: Duration = Duration::from_millis(300);
    let sandbox = tour().await;
    sandbox.slow_istiod(DELAY);
    let start = std::time::Instant::now();
    Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    assert!(start.elapsed() >= DELAY);
    sandbox.restore_istiod().unwrap();
    Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn revoked_tokens_are_rejected_and_open_streams_stay() {
    let sandbox = tour().await;
    let client = Client::vm(&sandbox);
    let (mut ads, _) = client.join(&node("vm-network", "cluster1")).await;
    sandbox.revoke_tokens();
    assert_eq!(client.ads().await.unwrap().end().await.code(), Code::Unauthenticated);
    assert!(ads.silence().await.is_empty());
    Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn connections_end_at_their_maximum_age() {
    const AGE: Duration = Duration::from_millis(200);
    let folder = Folder::tour();
    let sandbox = folder.builder().with_max_connection_age(AGE, AGE).start().await.unwrap();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    ads.end().await;
    sandbox.events().wait(|event| matches!(event, Event::AdsDisconnected { .. }).then_some(())).await;
    Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn dropping_a_sandbox_closes_its_ports() {
    let sandbox = tour().await;
    let address = sandbox.istiod_address();
    let (mut ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    drop(sandbox);
    // The listener is dropped with the task that owns the connections.
    assert_ne!(ads.end().await.code(), Code::Ok);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn all_ports_are_closed_when_shutdown_returns() {
    let sandbox = tour().await;
    let addresses = [sandbox.istiod_address(), sandbox.upstream_dns(), sandbox.gateways()[0].address];
    sandbox.shutdown().await;
    for address in addresses {
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn connections_are_listed_until_they_end() {
    let sandbox = tour().await;
    assert!(sandbox.connections().is_empty());
    let (ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    let connection = sandbox.connections().remove(0);
    assert_eq!(connection.identity, "spiffe://cluster.local/ns/vms/sa/edge-app");
    assert_eq!(connection.subscriptions[0].0, type_url::NAME_TABLE);
    drop(ads);
    sandbox.events().wait(|event| matches!(event, Event::AdsDisconnected { .. }).then_some(())).await;
    assert!(sandbox.connections().is_empty());
}
