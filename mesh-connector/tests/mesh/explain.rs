//! Explanations of successful and failed connections.

use std::time::Duration;

use mesh_connector::{
    Mesh, OutboundTrafficPolicy, Target,
    explain::{EndpointState, Explanation, NameMatch, Probe},
};
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

fn json(explanation: &Explanation) -> Value {
    serde_json::from_str(&explanation.to_json()).unwrap()
}

/// Replaces the parts of the text that differ between runs.
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
async fn the_text_contains_the_whole_decision_in_order() {
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = mesh.explain("forecast.weather", 3002).await.unwrap();
    assert!(explanation.is_ok());
    let expected = "\
forecast.weather:3002, as tcp
from         spiffe://cluster.local/ns/vms/sa/edge-app, certificate valid for TIME
             network vm-network; state of istiod's data: synced
name         forecast.weather.svc.cluster.local, by its short name
             10.1.0.20 in the name table (connections go to endpoints instead)
cluster      outbound|3002||forecast.weather.svc.cluster.local
             endpoints from EDS, 10000 ms per attempt, HTTP/1.1 or raw bytes
             least request
endpoints    usable   GATEWAY-OF-network1, gateway to cluster1, mutual tls, priority 0, weight 1: chosen first by 33 % of connections
             usable   GATEWAY-OF-network2, gateway to cluster2, mutual tls, priority 0, weight 2: chosen first by 67 % of connections
mutual tls   SNI outbound_.3002_._.forecast.weather.svc.cluster.local
             offers istio
             expects spiffe://cluster.local/ns/weather/sa/forecast
result       no known obstacle; a handshake probe would verify this
not visible  VirtualService rules (routes, weights, matches, timeouts, retries, faults) are sent only to sidecars: without a subset, connections go to the service as a whole
             HTTP retries: a sidecar repeats failed requests, but this client only retries connection attempts
";
    assert_eq!(normalised(&world, &explanation), expected);
}

#[tokio::test]
async fn settings_that_are_not_applied_are_listed() {
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
        "connections: idle timeout 7000 ms, maximum age 300000 ms, at most 9 requests each",
        "not applied  at most 50 concurrent requests",
        "at most 2 concurrent retries",
        "consistentHash: endpoints are chosen randomly",
        "not to raw streams",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(json(&explanation)["not_applied"].as_array().unwrap().len(), 4, "{text}");
    let plain = mesh.explain("forecast.weather", 3002).await.unwrap();
    assert!(plain.not_applied.is_empty() && !plain.to_string().contains("connections:"), "{plain}");
}

#[tokio::test]
async fn a_handshake_probe_reports_the_peer() {
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = live(&mesh, "forecast.weather", 3002).await;
    let connection = explanation.connection.as_ref().unwrap();
    assert_eq!(connection.peer.as_deref(), Some(FORECAST));
    assert_eq!(connection.sni.as_deref(), Some(SNI));
    assert!(connection.gateway && connection.connect_micros > 0);
    let text = explanation.to_string();
    assert!(text.contains(&format!("presented {FORECAST}, as expected")), "{text}");
    assert!(text.contains("result       connected"), "{text}");
}

#[tokio::test]
async fn json_has_the_same_content_with_stable_names() {
    let world = World::start().await;
    let mesh = world.join().await;
    let json = json(&live(&mesh, "forecast.weather", 3002).await);
    assert_eq!(json["target"]["host"], "forecast.weather");
    assert_eq!(json["membership"]["identity"], US);
    assert_eq!(json["membership"]["state"], "synced");
    assert_eq!(json["name"]["match_kind"], "short_name");
    assert_eq!(json["name"]["canonical"], "forecast.weather.svc.cluster.local");
    assert_eq!(json["cluster"]["name"], CLUSTER);
    assert_eq!(json["endpoints"][0]["state"], "first");
    assert_eq!(json["endpoints"][0]["transport"]["sni"], SNI);
    assert_eq!(json["endpoints"][1]["percent"], 66.7);
    assert_eq!(json["connection"]["peer"], FORECAST);
    assert_eq!(json["failure"], Value::Null);
    assert!(json["not_visible"][0].as_str().unwrap().contains("VirtualService"));
}

#[tokio::test]
async fn plaintext_to_a_virtual_ip_is_explained() {
    let world = World::start().await;
    let mesh = world.join().await;
    let vip = mesh.raw_resolver().lookup_ip("mymongodb.somedomain").await.unwrap().addresses()[0];
    let explanation = mesh.explain(&vip.to_string(), 27018).await.unwrap();
    assert_eq!(explanation.name.as_ref().unwrap().match_kind, NameMatch::LastResolved);
    assert_eq!(explanation.endpoints.len(), 2);
    assert!(
        explanation.to_string().contains("plaintext    configured by the control plane"),
        "{explanation}"
    );
    let explanation = mesh.requiring_mtls().explain("mymongodb.somedomain", 27018).await.unwrap();
    assert_eq!(failure(&explanation), "plaintext_refused");
    assert_eq!(explanation.endpoints[0].state, EndpointState::Refused);
    assert!(explanation.to_string().contains("possible     the endpoint has no sidecar"), "{explanation}");
}

#[tokio::test]
async fn a_target_without_a_route_is_explained_up_to_the_failure() {
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
async fn a_host_outside_the_mesh_is_explained() {
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = outside.local_addr().unwrap().port();
    let world = World::start().await;
    let mesh = world.join().await;
    let explanation = live(&mesh, "localhost", port).await;
    assert!(explanation.is_ok(), "{explanation}");
    assert_eq!(explanation.connection.unwrap().transport, "plaintext");
    assert!(explanation.not_visible.iter().any(|what| what.contains("outboundTrafficPolicy")));
    let registry_only = world
        .builder()
        .with_outbound_traffic_policy(OutboundTrafficPolicy::RegistryOnly)
        .join()
        .await
        .unwrap();
    let explanation = registry_only.explain("localhost", port).await.unwrap();
    assert!(!explanation.passthrough.as_ref().unwrap().allowed);
    assert_eq!(failure(&explanation), "unknown_host");
}

#[tokio::test]
async fn each_failed_gateway_is_listed() {
    let world = World::start().await;
    let mesh = world.join().await;
    for network in ["network1", "network2"] {
        world.sandbox.stop_gateway(network).await.unwrap();
    }
    let explanation = live(&mesh, "forecast.weather", 3002).await;
    assert_eq!(failure(&explanation), "dial");
    assert_eq!(explanation.failure.as_ref().unwrap().attempts.len(), 2);
    assert!(explanation.to_string().contains("the gateway does not accept connections"), "{explanation}");
    assert!(
        mesh.explain("forecast.weather", 3002).await.unwrap().is_ok(),
        "no failure is known without a probe"
    );
}

#[tokio::test]
async fn an_identity_mismatch_shows_the_presented_and_the_expected_identity() {
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
async fn a_host_that_the_gateway_does_not_expose_lists_possible_causes() {
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
    let possible_causes = &explanation.failure.as_ref().unwrap().possible_causes;
    assert!(
        possible_causes.len() > 1 && possible_causes.iter().any(|cause| cause.contains("hosts")),
        "{explanation}"
    );
}

/// A tenant of the mesh may create a ServiceEntry with any host.
#[tokio::test]
async fn a_service_entry_does_not_take_over_the_short_name_of_a_service_and_is_shown_as_shadowed() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: takeover, namespace: payments}
spec:
  hosts: [forecast.weather]
  addresses: [240.9.9.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 3002, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.20.9.9, network: network2, serviceAccount: ledger}]
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", entry, "forecast.weather").await;
    let mut names = mesh.client().names().clone();
    let listed = names.wait_for(|names| names.get("forecast.weather").is_some());
    tokio::time::timeout(Duration::from_secs(10), listed).await.unwrap().unwrap();
    let stream = mesh.connect("forecast.weather", 3002).await.unwrap();
    assert_eq!(stream.connection().peer().unwrap().as_str(), FORECAST);
    let found = mesh.raw_resolver().lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(found.mesh_name(), Some("forecast.weather.svc.cluster.local"));
    let explanation = mesh.explain("forecast.weather", 3002).await.unwrap();
    let explained = explanation.name.as_ref().unwrap();
    assert_eq!(explained.match_kind, NameMatch::ShortName);
    assert_eq!(explained.canonical.as_deref(), Some("forecast.weather.svc.cluster.local"));
    assert_eq!(json(&explanation)["name"]["shadowed"], "forecast.weather");
    let shown = "the ServiceEntry with the host forecast.weather is not used";
    assert!(explanation.to_string().contains(shown), "{explanation}");
    let full = mesh.explain("forecast.weather.svc.cluster.local", 3002).await.unwrap();
    assert_eq!(full.name.as_ref().unwrap().shadowed, None);
}

#[tokio::test]
async fn missing_endpoints_and_a_lost_istiod_are_explained() {
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
