//! The delta protocol as istiod implements it, with its pitfalls.

use mesh_sandbox::{Event, TokenOptions};
use tonic::Code;
use xds_proto::envoy::config::core::v3::Node;
use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use xds_proto::google::protobuf::Value;
use xds_proto::google::protobuf::value::Kind;
use xds_proto::type_url;

use crate::client::{Ads, Client, assignments, clusters, names, node, node_with};
use crate::mesh::tour;

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";

async fn rejection(node: Node) -> tonic::Status {
    let sandbox = tour().await;
    let mut ads = Client::vm(&sandbox).ads().await.unwrap();
    ads.introduce(&node, type_url::NAME_TABLE).await;
    ads.end().await
}

#[tokio::test]
async fn a_first_request_without_a_node_is_invalid() {
    let status = rejection(Node::default()).await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "missing node information"));
}

#[tokio::test]
async fn a_node_id_of_three_parts_is_invalid() {
    let status = rejection(Node { id: "sidecar~10.0.0.1~a.b".to_owned(), ..Node::default() }).await;
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_json_boolean_for_dns_capture_is_invalid() {
    let mut node = node("vm-network", "cluster1");
    let capture = Value { kind: Some(Kind::BoolValue(true)) };
    node.metadata.as_mut().unwrap().fields.insert("DNS_CAPTURE".to_owned(), capture);
    let status = rejection(node).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("failed to unmarshal node metadata"), "{status}");
}

#[tokio::test]
async fn a_node_of_another_namespace_or_account_is_denied() {
    for (namespace, account) in [("weather", "edge-app"), ("vms", "forecast")] {
        let sandbox = tour().await;
        let token = sandbox.token(namespace, account, &TokenOptions::default());
        let mut ads = Client::with_token(&sandbox, &token).ads().await.unwrap();
        ads.introduce(&node("vm-network", "cluster1"), type_url::NAME_TABLE).await;
        let status = ads.end().await;
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
}

async fn joined() -> (mesh_sandbox::Sandbox, Ads) {
    let sandbox = tour().await;
    let (ads, _) = Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
    (sandbox, ads)
}

#[tokio::test]
async fn the_name_table_has_neither_name_nor_version() {
    let (_sandbox, ads) = joined().await;
    let mut ads = ads;
    let sandbox = tour().await;
    let mut other = Client::vm(&sandbox).ads().await.unwrap();
    other.introduce(&node("vm-network", "cluster1"), type_url::NAME_TABLE).await;
    let response = other.next().await;
    assert_eq!((response.resources[0].name.as_str(), response.resources[0].version.as_str()), ("", ""));
    assert!(response.removed_resources.is_empty());
    assert!(!response.nonce.is_empty() && !response.system_version_info.is_empty());
    assert!(ads.silence().await.is_empty(), "an ACK is not answered");
}

#[tokio::test]
async fn requested_names_are_listed_as_removed_beside_the_whole_table() {
    let sandbox = tour().await;
    let ads = Client::vm(&sandbox).ads().await.unwrap();
    let mut ads = ads;
    ads.send(DeltaDiscoveryRequest {
        node: Some(node("vm-network", "cluster1")),
        type_url: type_url::NAME_TABLE.to_owned(),
        resource_names_subscribe: vec!["forecast.weather.svc.cluster.local".to_owned()],
        ..Default::default()
    })
    .await;
    let response = ads.next().await;
    assert_eq!(response.removed_resources, ["forecast.weather.svc.cluster.local"]);
    assert!(names(&response).table.len() > 1);
}

#[tokio::test]
async fn the_first_request_for_a_type_is_answered_with_any_nonce() {
    let (_sandbox, mut ads) = joined().await;
    ads.send(DeltaDiscoveryRequest {
        type_url: type_url::CLUSTER.to_owned(),
        response_nonce: "from an earlier stream".to_owned(),
        ..Default::default()
    })
    .await;
    assert!(clusters(&ads.next().await).contains_key(FORECAST));
}

#[tokio::test]
async fn clusters_known_from_an_earlier_stream_are_removed_if_they_no_longer_exist() {
    let (_sandbox, mut ads) = joined().await;
    let gone = "outbound|80||gone.a.svc.cluster.local";
    let known = [gone, FORECAST].map(|name| (name.to_owned(), "9".to_owned()));
    ads.send(DeltaDiscoveryRequest {
        type_url: type_url::CLUSTER.to_owned(),
        initial_resource_versions: known.into(),
        ..Default::default()
    })
    .await;
    let response = ads.next().await;
    assert_eq!(response.removed_resources, [gone]);
    assert!(clusters(&response).contains_key(FORECAST), "a cluster is sent even if its version is known");
}

#[tokio::test]
async fn subscribing_to_more_endpoints_is_answered_with_only_those() {
    let (_sandbox, mut ads) = joined().await;
    ads.endpoints(FORECAST).await;
    ads.subscribe(type_url::ENDPOINT, &["outbound|3003||archive.weather.svc.cluster.local"]).await;
    let response = ads.next().await;
    assert_eq!(response.resources.len(), 1);
    assert!(assignments(&response).contains_key("outbound|3003||archive.weather.svc.cluster.local"));
}

#[tokio::test]
async fn an_unknown_cluster_has_no_endpoints_and_is_not_an_error() {
    let (_sandbox, mut ads) = joined().await;
    for name in ["outbound|9999||forecast.weather.svc.cluster.local", "outbound|1||nobody", "nonsense"] {
        assert!(ads.endpoints(name).await.endpoints.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn unsubscribing_and_repeated_subscribing_are_not_answered() {
    let (_sandbox, mut ads) = joined().await;
    ads.endpoints(FORECAST).await;
    ads.subscribe(type_url::ENDPOINT, &[FORECAST]).await;
    ads.send(DeltaDiscoveryRequest {
        type_url: type_url::ENDPOINT.to_owned(),
        resource_names_unsubscribe: vec![FORECAST.to_owned()],
        ..Default::default()
    })
    .await;
    ads.subscribe(type_url::NAME_TABLE, &[]).await;
    assert!(ads.silence().await.is_empty());
}

#[tokio::test]
async fn a_subscription_on_a_stale_nonce_is_silently_lost() {
    let (sandbox, mut ads) = joined().await;
    ads.endpoints("outbound|1||first").await;
    ads.send(DeltaDiscoveryRequest {
        type_url: type_url::ENDPOINT.to_owned(),
        response_nonce: "stale".to_owned(),
        resource_names_subscribe: vec![FORECAST.to_owned()],
        ..Default::default()
    })
    .await;
    assert!(ads.silence().await.is_empty());
    let subscriptions = sandbox.connections().remove(0).subscriptions;
    let (_, endpoints) = subscriptions.iter().find(|(kind, _)| kind == type_url::ENDPOINT).unwrap();
    assert!(!endpoints.contains(&FORECAST.to_owned()), "{endpoints:?}");
}

#[tokio::test]
async fn a_response_with_clusters_is_followed_by_the_subscribed_endpoints() {
    let (_sandbox, mut ads) = joined().await;
    ads.endpoints(FORECAST).await;
    ads.subscribe(type_url::CLUSTER, &[]).await;
    assert_eq!(ads.next().await.type_url, type_url::CLUSTER);
    let response = ads.next().await;
    assert_eq!(response.type_url, type_url::ENDPOINT);
    assert!(assignments(&response).contains_key(FORECAST));
}

#[tokio::test]
async fn an_unknown_type_ends_the_stream() {
    let (_sandbox, mut ads) = joined().await;
    ads.subscribe("type.googleapis.com/a.Unknown", &[]).await;
    let status = ads.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("restricted to the control-plane"), "{status}");
}

#[tokio::test]
async fn proxy_config_is_accepted_and_not_answered() {
    let (_sandbox, mut ads) = joined().await;
    ads.subscribe("type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig", &[]).await;
    assert!(ads.silence().await.is_empty());
}

#[tokio::test]
async fn ambient_types_get_an_empty_response() {
    let (_sandbox, mut ads) = joined().await;
    ads.subscribe("type.googleapis.com/istio.workload.Address", &[]).await;
    assert!(ads.next().await.resources.is_empty());
}

#[tokio::test]
async fn no_headers_are_sent_before_the_first_response() {
    let sandbox = tour().await;
    let mut silent = Client::vm(&sandbox).ads().await.unwrap();
    let other = async {
        let client = Client::vm(&sandbox);
        client.join(&node("vm-network", "cluster1")).await
    };
    // istiod answers a later stream while this one waits.
    tokio::select! {
        biased;
        outcome = silent.outcome() => panic!("{outcome:?} arrived without a request"),
        _ = other => {}
    }
    let connected = |event: &Event| matches!(event, Event::AdsConnected { .. });
    let connected = sandbox.events().all().into_iter().filter(connected).count();
    assert_eq!(connected, 1, "a stream without a first request is not listed as connected");
}

#[tokio::test]
async fn a_nack_is_recorded_and_not_answered() {
    let (sandbox, mut ads) = joined().await;
    ads.nack(type_url::NAME_TABLE, "any nonce", "cannot decode it").await;
    assert!(ads.silence().await.is_empty());
    let rejection = sandbox.rejections().remove(0);
    assert_eq!((rejection.code, rejection.message.as_str()), (13, "cannot decode it"));
    assert_eq!(rejection.type_url, type_url::NAME_TABLE);
}

#[tokio::test]
async fn a_nack_for_a_type_without_a_subscription_crashes_istiod() {
    let (sandbox, mut ads) = joined().await;
    ads.nack(type_url::CLUSTER, "", "replayed after a reconnect").await;
    sandbox.events().wait(|event| matches!(event, Event::IstiodCrashed { .. }).then_some(())).await;
    assert_ne!(ads.end().await.code(), Code::Ok);
    assert!(Client::vm(&sandbox).ads().await.is_err(), "the port refuses connections");
    sandbox.restore_istiod().unwrap();
    Client::vm(&sandbox).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn a_nack_as_the_first_message_crashes_istiod() {
    let sandbox = tour().await;
    let ads = Client::vm(&sandbox).ads().await.unwrap();
    ads.send(DeltaDiscoveryRequest {
        node: Some(node("vm-network", "cluster1")),
        type_url: type_url::NAME_TABLE.to_owned(),
        error_detail: Some(xds_proto::google::rpc::Status::default()),
        ..Default::default()
    })
    .await;
    sandbox.events().wait(|event| matches!(event, Event::IstiodCrashed { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_health_report_as_the_first_message_is_dropped() {
    let sandbox = tour().await;
    let mut ads = Client::vm(&sandbox).ads().await.unwrap();
    ads.subscribe("type.googleapis.com/istio.v1.HealthInformation", &[]).await;
    ads.introduce(&node("vm-network", "cluster1"), type_url::NAME_TABLE).await;
    names(&ads.next().await);
}

#[tokio::test]
async fn a_node_without_dns_capture_is_served() {
    let sandbox = tour().await;
    let (_, table) = Client::vm(&sandbox).join(&node_with(&[("NETWORK", "vm-network")])).await;
    assert!(table.table.contains_key("forecast.weather.svc.cluster.local"));
}
