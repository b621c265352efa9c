//! The HTTP proxy.

use super::*;
use crate::US;

/// The workloads of forecast behind a port without a protocol in its name.
pub(super) const DETECTED: &str = "
apiVersion: v1
kind: Service
metadata: {name: detected, namespace: weather}
spec:
  clusterIP: 10.1.0.78
  selector: {app: forecast}
  ports: [{port: 4000, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: detected-1
  namespace: weather
  labels: {kubernetes.io/service-name: detected}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints:
  - addresses: [10.10.1.11]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: forecast-1a, namespace: weather}
";

const URL: &str = "http://forecast.weather:3002/today";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends one request on a new connection.
async fn ask(bridge: &Bridge, request: &str) -> String {
    text(say(connect(bridge.proxy_address()).await, request.replace('\n', "\r\n")).await.unwrap())
}

#[tokio::test]
async fn urls_in_absolute_form_are_forwarded() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let request =
        format!("GET {URL} HTTP/1.1\nHost: wrong.example\nProxy-Connection: close\nConnection: close\n\n");
    let answer = ask(&bridge, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("/today") && answer.contains(US), "{answer}");
    assert!(!answer.contains("wrong.example"), "{answer}");
}

#[tokio::test]
async fn one_client_connection_carries_requests_to_several_services() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let first = format!("GET {URL} HTTP/1.1\nHost: x\n\n");
    let second = "POST http://forecast.weather.svc.cluster.local:3002/second HTTP/1.1\nHost: x\nContent-Length: 4\n\nbody";
    let third = "GET http://typo.weather.svc.cluster.local/ HTTP/1.1\nHost: x\nConnection: close\n\n";
    let answer = ask(&bridge, &format!("{first}{second}{third}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert!(answer.contains("/second"), "{answer}");
    assert!(answer.contains("HTTP/1.1 502") && answer.contains("x-sidestep-error: unknown_host"), "{answer}");
}

#[tokio::test]
async fn connect_opens_a_tunnel() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let mut client = connect(bridge.proxy_address()).await;
    // The first bytes for the service arrive together with the request.
    let request =
        "CONNECT ledger.payments.example:5432 HTTP/1.1\r\nHost: ledger.payments.example:5432\r\n\r\nearly\n";
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let answer = text(say(client, "").await.unwrap());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("early\n"), "{answer}");
}

#[tokio::test]
async fn the_response_to_a_failed_connect_contains_the_reason() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let answer = ask(&bridge, "CONNECT forecast.weather:80 HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("3002"), "{answer}");
    assert!(answer.contains("x-sidestep-error: unknown_port"), "{answer}");
}

#[tokio::test]
async fn on_a_port_with_protocol_detection_a_tunnel_waits_for_the_first_bytes() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    world.apply(&mesh, "cluster1", DETECTED, "detected.weather.svc.cluster.local").await;
    let mut client = connect(bridge.proxy_address()).await;
    client.write_all(b"CONNECT detected.weather:4000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = "HTTP/1.1 200 OK\r\n";
    assert_eq!(text(exactly(&mut client, head.len()).await), head);
    let answer = say(client, "GET /inside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(text(answer).contains("/inside"));
}

#[tokio::test]
async fn the_response_to_a_non_proxy_request_explains_the_error() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let answer = ask(&bridge, "GET / HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this is a proxy"), "{answer}");
    let answer = ask(&bridge, "GET https://forecast.weather/ HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("CONNECT"), "{answer}");
    assert!(ask(&bridge, "\u{1}\u{2} garbage\n\n").await.starts_with("HTTP/1.1 400"));
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_uses_the_bridge_regardless_of_proxy_variables() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let client = bridge.reqwest_builder().unwrap().build().unwrap();
    let answer = client.get(URL).send().await.unwrap();
    assert!(answer.status().is_success());
    assert!(answer.text().await.unwrap().contains(US));
}
