//! HTTP clients over the mesh.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use mesh_connector::{ConnectionInfo, ErrorKind, HttpClient, Mesh, Protocol, nds_client::Clusters};
use mesh_sandbox::Sandbox;
use tower_service::Service as _;

use crate::{FORECAST, US, World};

const URL: &str = "http://forecast.weather:3002/";

fn client(mesh: &Mesh, protocol: Protocol) -> HttpClient<Empty<Bytes>> {
    HttpClient::new(mesh.connector().with_protocol(protocol))
}

fn connection(response: &Response<Incoming>) -> &ConnectionInfo {
    response.extensions().get().unwrap()
}

/// The body as text, whole, so that the connection can serve the next request.
async fn body(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

#[tokio::test]
async fn a_response_says_how_it_came_and_the_service_saw_who_asked() {
    let world = World::start().await;
    let mesh = world.join().await;
    let response = mesh.http_client::<Empty<Bytes>>().get(URL.parse().unwrap()).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(connection(&response).peer().unwrap().as_str(), FORECAST);
    assert_eq!(connection(&response).alpn(), Some("http/1.1"));
    assert!(connection(&response).is_through_gateway());
    assert!(body(response).await.contains(US));
}

#[tokio::test]
async fn the_http_2_client_speaks_http_2_over_one_connection() {
    let world = World::start().await;
    let mesh = world.join().await;
    let client = client(&mesh, Protocol::Http2);
    for _ in 0..3 {
        let response = client.get(URL.parse().unwrap()).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(connection(&response).alpn(), Some("h2"));
        body(response).await;
    }
    assert_eq!(world.through_gateways(), 1);
}

#[tokio::test]
async fn connections_are_used_again_unless_the_client_is_told_to_keep_none() {
    let world = World::start().await;
    let mesh = world.join().await;
    let keeps = client(&mesh, Protocol::Http1);
    for _ in 0..3 {
        body(keeps.get(URL.parse().unwrap()).await.unwrap()).await;
    }
    assert_eq!(world.through_gateways(), 1);
    let keeps_none = keeps.with_max_idle_per_host(0);
    let mut clusters = BTreeSet::new();
    for _ in 0..64 {
        let response = keeps_none.get(URL.parse().unwrap()).await.unwrap();
        clusters.insert(connection(&response).workload_cluster().unwrap().to_owned());
        body(response).await;
    }
    assert_eq!(world.through_gateways(), 65);
    assert_eq!(clusters.len(), 2);
}

#[tokio::test]
async fn a_new_identity_means_new_connections() {
    let second = Duration::from_secs(2);
    let world = World::start_with(Sandbox::builder().certificate_lifetimes(second, second)).await;
    let mesh = world.join().await;
    let client = client(&mesh, Protocol::Http1);
    body(client.get(URL.parse().unwrap()).await.unwrap()).await;
    let mut identity = mesh.client().identity().clone();
    let first = identity.current().unwrap().epoch();
    let renewed = identity.wait_for(|identity| identity.as_ref().is_some_and(|now| now.epoch() > first));
    tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap().unwrap();
    body(client.get(URL.parse().unwrap()).await.unwrap()).await;
    assert_eq!(world.through_gateways(), 2);
}

#[tokio::test]
async fn errors_of_the_mesh_come_out_of_the_client_as_they_are() {
    let world = World::start().await;
    let client = client(&world.join().await, Protocol::Http1);
    for (uri, kind) in [
        ("http://forecast.weather/", ErrorKind::UnknownPort),
        ("http://typo.weather.svc.cluster.local/", ErrorKind::UnknownHost),
        ("https://forecast.weather:3002/", ErrorKind::Unsupported),
    ] {
        let error = client.get(uri.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.report());
    }
}

#[tokio::test]
async fn the_client_is_a_tower_service() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut client = client(&mesh, Protocol::Http1);
    let request = Request::get(URL).body(Empty::new()).unwrap();
    let response = client.call(request).await.unwrap();
    assert!(response.status().is_success());
}

/// A rule about the connections to the forecast, and a client to which it applies.
async fn ruled(connection_pool: &str, protocol: Protocol) -> (World, HttpClient<Empty<Bytes>>) {
    let rule = format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: forecast, namespace: weather}}
spec: {{host: forecast.weather.svc.cluster.local, trafficPolicy: {{connectionPool: {connection_pool}}}}}
"
    );
    let world = World::start().await;
    world.sandbox.apply("cluster1", &rule).unwrap();
    let mesh = world.join().await;
    let ruled = |clusters: &Clusters| {
        let forecast = clusters.get("forecast.weather.svc.cluster.local", 3002, "");
        forecast.is_some_and(|cluster| cluster.config.is_some())
    };
    let mut clusters = mesh.client().clusters().clone();
    clusters.wait_for(|clusters| clusters.as_deref().is_some_and(ruled)).await.unwrap();
    let client = client(&mesh, protocol);
    (world, client)
}

#[tokio::test]
async fn a_connection_carries_as_many_requests_as_its_rule_allows() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (world, client) = ruled("{http: {maxRequestsPerConnection: 3}}", protocol).await;
        for _ in 0..7 {
            body(client.get(URL.parse().unwrap()).await.unwrap()).await;
        }
        assert_eq!(world.through_gateways(), 3, "{protocol:?}: three, three and one");
    }
}

#[tokio::test]
async fn a_connection_without_requests_or_of_age_serves_no_longer_than_its_rule_says() {
    for rule in ["{http: {idleTimeout: 20ms}}", "{tcp: {maxConnectionDuration: 20ms}}"] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let (world, client) = ruled(rule, protocol).await;
            body(client.get(URL.parse().unwrap()).await.unwrap()).await;
            let over = std::time::Instant::now() + Duration::from_millis(40);
            while std::time::Instant::now() < over {
                tokio::task::yield_now().await;
            }
            body(client.get(URL.parse().unwrap()).await.unwrap()).await;
            assert_eq!(world.through_gateways(), 2, "{rule}, {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_ends_at_its_time_however_busy_it_is_and_no_request_with_it() {
    let (world, client) = ruled("{tcp: {maxConnectionDuration: 20ms}}", Protocol::Http1).await;
    let over = std::time::Instant::now() + Duration::from_millis(200);
    while std::time::Instant::now() < over {
        body(client.get(URL.parse().unwrap()).await.unwrap()).await;
    }
    assert!(world.through_gateways() > 1);
}
