//! Explanations: of success, and of each way to fail.

use std::time::Duration;

use mesh_connector::{EndpointState, Explanation, Mesh, NameFound, Outside, Probe, Target};
use serde_json::Value;

use crate::{FORECAST, US, World};

const CLUSTER: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const SNI: &str = "outbound_.3002_._.forecast.weather.svc.cluster.local";

async fn live(mesh: &Mesh, host: &str, port: u16) -> Explanation {
    mesh.explain_to(&Target::new(host, port).unwrap(), Probe::Handshake).await
}

fn failure(explanation: &Explanation) -> &'static str {
    explanation.failure.as_ref().map_or("none", |failure| failure.kind)
}

/// The text with what differs from run to run replaced.
fn normalised(world: &World, explanation: &Explanation) -> String {
    let mut text = explanation.to_string();
    let mut gateways = world.sandbox.gateways();
    gateways.sort_by(|a, b| a.network.cmp(&b.network));
    for gateway in gateways {
        text = text.replace(&gateway.address.to_string(), &format!("GATEWAY-OF-{}", gateway.network));
    }
    for left in ["23 h 59 min", "24 h 0 min"] {
        text = text.replace(left, "TIME");
    }
    text.lines().map(str::trim_end).fold(String::new(), |all, line| all + line + "\n")
}

#[tokio::test]
async fn the_whole_decision_is_told_in_its_order() {
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = mesh.explain("forecast.weather", 3002).await.unwrap();
    assert!(explanation.is_ok());
    let expected = "\
forecast.weather:3002, as tcp
from         spiffe://cluster.local/ns/vms/sa/edge-app, certificate for another TIME
             network vm-network; istiod's state: synced
name         forecast.weather.svc.cluster.local, by its short name
             10.1.0.20 in the table, where connections do not go
cluster      outbound|3002||forecast.weather.svc.cluster.local
             endpoints from EDS, 10000 ms per attempt, HTTP/1.1 or raw bytes
             least request
endpoints    kept     GATEWAY-OF-network1, gateway to cluster1, mutual tls, priority 0, weight 1: chosen first by 33 % of connections
             kept     GATEWAY-OF-network2, gateway to cluster2, mutual tls, priority 0, weight 2: chosen first by 67 % of connections
mutual tls   SNI outbound_.3002_._.forecast.weather.svc.cluster.local
             offers istio
             expects spiffe://cluster.local/ns/weather/sa/forecast
result       nothing known stands in the way; whether it is so, a handshake shows
not visible  VirtualService rules (routes, weights, matches, timeouts, retries, faults) are sent to sidecars only: without a subset, connections go to the service as a whole
             HTTP retries: a sidecar repeats failed requests, this client moves to the next endpoint while connecting
";
    assert_eq!(normalised(&world, &explanation), expected);
}

#[tokio::test]
async fn what_a_rule_says_and_this_client_does_not_do_is_told() {
    let rule = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ruled, namespace: payments}
spec:
  host: ruled.example
  trafficPolicy:
    loadBalancer: {consistentHash: {httpHeaderName: x-user}}
    connectionPool:
      tcp: {maxConnectionDuration: 300s}
      http: {http2MaxRequests: 50, maxRetries: 2, idleTimeout: 7s, maxRequestsPerConnection: 9}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ruled, namespace: payments}
spec:
  hosts: [ruled.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.20.9.9, network: network2, serviceAccount: ledger}]
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", rule, "ruled.example").await;
    let explanation = mesh.explain("ruled.example", 80).await.unwrap();
    let text = explanation.to_string();
    for said in [
        "connections: idle for 7000 ms at most, for 300000 ms in all, for 9 requests",
        "not applied  at most 50 requests at a time",
        "at most 2 retries at a time",
        "the hash of something in the request",
        "raw streams live as long as they are held",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(explanation.to_json()["not_applied"].as_array().unwrap().len(), 4, "{text}");
    let plain = mesh.explain("forecast.weather", 3002).await.unwrap();
    assert!(plain.not_applied.is_empty() && !plain.to_string().contains("connections:"), "{plain}");
}

#[tokio::test]
async fn a_handshake_on_request_shows_who_answers() {
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = live(&mesh, "forecast.weather", 3002).await;
    let connection = explanation.connection.as_ref().unwrap();
    assert_eq!(connection.presented.as_deref(), Some(FORECAST));
    assert_eq!(connection.sni.as_deref(), Some(SNI));
    assert!(connection.gateway && connection.micros > 0);
    let text = explanation.to_string();
    assert!(text.contains(&format!("presented {FORECAST}, as expected")), "{text}");
    assert!(text.contains("result       connected"), "{text}");
}

#[tokio::test]
async fn json_has_the_same_under_stable_names() {
    let world = World::start().await;
    let mesh = world.join().await;
    let json = live(&mesh, "forecast.weather", 3002).await.to_json();
    assert_eq!(json["target"]["host"], "forecast.weather");
    assert_eq!(json["membership"]["identity"], US);
    assert_eq!(json["membership"]["state"], "synced");
    assert_eq!(json["name"]["found"], "short_name");
    assert_eq!(json["name"]["canonical"], "forecast.weather.svc.cluster.local");
    assert_eq!(json["cluster"]["name"], CLUSTER);
    assert_eq!(json["endpoints"][0]["state"], "first");
    assert_eq!(json["endpoints"][0]["transport"]["sni"], SNI);
    assert_eq!(json["endpoints"][1]["percent"], 66.7);
    assert_eq!(json["connection"]["presented"], FORECAST);
    assert_eq!(json["failure"], Value::Null);
    assert!(json["not_visible"][0].as_str().unwrap().contains("VirtualService"));
}

#[tokio::test]
async fn plaintext_by_a_virtual_address_is_said_to_be_both() {
    let world = World::start().await;
    let mesh = world.join().await;
    let vip = mesh.resolver().lookup_ip("mymongodb.somedomain").await.unwrap().addresses()[0];
    let explanation = mesh.explain(&vip.to_string(), 27018).await.unwrap();
    assert_eq!(explanation.name.as_ref().unwrap().found, NameFound::LastResolved);
    assert_eq!(explanation.endpoints.len(), 2);
    assert!(explanation.to_string().contains("plaintext    as the control plane says"), "{explanation}");
    let explanation = mesh.requiring_mtls().explain("mymongodb.somedomain", 27018).await.unwrap();
    assert_eq!(failure(&explanation), "plaintext_refused");
    assert_eq!(explanation.endpoints[0].state, EndpointState::Refused);
    assert!(explanation.to_string().contains("may be       the endpoint has no sidecar"), "{explanation}");
}

#[tokio::test]
async fn what_no_route_leads_to_is_explained_as_far_as_it_goes() {
    let world = World::start().await;
    let mesh = world.join().await;
    for (host, port, kind) in
        [("forecast.weather", 80, "unknown_port"), ("typo.weather.svc.cluster.local", 80, "unknown_host")]
    {
        let explanation = live(&mesh, host, port).await;
        assert_eq!(failure(&explanation), kind, "{explanation}");
        assert!(explanation.name.is_some() && explanation.cluster.is_none());
        assert!(explanation.to_string().contains(&format!("result       fails ({kind})")), "{explanation}");
    }
    let target = Target::new("forecast.weather", 3002).unwrap().with_subset("v9");
    assert_eq!(failure(&mesh.explain_to(&target, Probe::Nothing).await), "unknown_subset");
    assert_eq!(mesh.explain("no host", 1).await.unwrap_err().kind().as_label(), "invalid_target");
}

#[tokio::test]
async fn a_host_outside_is_said_to_be_outside() {
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = outside.local_addr().unwrap().port();
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = live(&mesh, "localhost", port).await;
    assert!(explanation.is_ok(), "{explanation}");
    assert_eq!(explanation.connection.unwrap().transport, "plaintext");
    assert!(explanation.not_visible.iter().any(|what| what.contains("outboundTrafficPolicy")));
    let registry_only = world.builder().with_outside(Outside::Refused).join().await.unwrap();
    let explanation = registry_only.explain("localhost", port).await.unwrap();
    assert!(!explanation.outside.as_ref().unwrap().allowed);
    assert_eq!(failure(&explanation), "unknown_host");
}

#[tokio::test]
async fn gateways_that_are_gone_are_told_one_by_one() {
    let world = World::start().await;
    let mesh = world.join().await;
    for network in ["network1", "network2"] {
        world.sandbox.stop_gateway(network).await.unwrap();
    }
    let explanation = live(&mesh, "forecast.weather", 3002).await;
    assert_eq!(failure(&explanation), "dial");
    assert_eq!(explanation.failure.as_ref().unwrap().attempts.len(), 2);
    assert!(explanation.to_string().contains("the gateway does not accept connections"), "{explanation}");
    assert!(mesh.explain("forecast.weather", 3002).await.unwrap().is_ok(), "without a look nobody knows");
}

#[tokio::test]
async fn another_identity_is_shown_beside_the_expected_one() {
    let world = World::start().await;
    let mesh = world.join().await;
    world.sandbox.impersonate("weather", "forecast", "archive").unwrap();
    let explanation = live(&mesh, "forecast.weather", 3002).await;
    assert_eq!(failure(&explanation), "peer_identity");
    let failure = explanation.failure.as_ref().unwrap();
    assert_eq!(failure.expected, [FORECAST]);
    assert_eq!(failure.presented, ["spiffe://cluster.local/ns/weather/sa/archive"]);
}

#[tokio::test]
async fn a_host_that_the_gateway_does_not_expose_lists_what_may_be_the_cause() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hidden, namespace: payments}
spec:
  hosts: [hidden.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.20.9.9, network: network2, serviceAccount: ledger}]
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", entry, "hidden.example").await;
    let explanation = live(&mesh, "hidden.example", 5432).await;
    assert_eq!(failure(&explanation), "tls");
    let candidates = &explanation.failure.as_ref().unwrap().candidates;
    assert!(candidates.len() > 1 && candidates.iter().any(|cause| cause.contains("hosts")), "{explanation}");
}

#[tokio::test]
async fn without_endpoints_or_without_istiod_it_says_so() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: weather}
spec:
  clusterIP: 10.1.0.77
  selector: {app: empty}
  ports: [{name: tcp, port: 7}]
";
    let world = World::start().await;
    let mesh = world.join().await.with_connect_deadline(Duration::from_millis(500));
    world.apply(&mesh, "cluster1", service, "empty.weather.svc.cluster.local").await;
    let explanation = mesh.explain("empty.weather", 7).await.unwrap();
    assert_eq!(failure(&explanation), "no_endpoint");
    assert!(explanation.to_string().contains("endpoints    none"), "{explanation}");
    world.sandbox.stop_istiod().await;
    let explanation = mesh.explain("forecast.weather", 3002).await.unwrap();
    assert_eq!(failure(&explanation), "control_plane");
    assert!(explanation.cluster.is_some(), "clusters are still known");
    mesh.shutdown().await;
    assert_eq!(failure(&mesh.explain("forecast.weather", 3002).await.unwrap()), "closed");
}
