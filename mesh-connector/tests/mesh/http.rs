//! HTTP clients.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use mesh_connector::{
    ConnectionInfo, ErrorKind, Mesh, Protocol,
    hyper::{HttpClient, ResponseBody},
    nds_client::resources::cluster::Clusters,
};
use tower_service::Service as _;

use crate::{FORECAST, US, World};

const URL: &str = "http://forecast.weather:3002/";
/// A service with one endpoint, behind the gateway of the other network.
const ARCHIVE: &str = "http://archive.weather:3003/";

fn client(mesh: &Mesh, protocol: Protocol) -> HttpClient<Empty<Bytes>> {
    HttpClient::new(mesh.connector().with_protocol(protocol))
}

fn connection(response: &Response<ResponseBody>) -> &ConnectionInfo {
    response.extensions().get().unwrap()
}

/// Reads the whole body, so that the connection can serve the next request.
async fn body(response: Response<ResponseBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

#[tokio::test]
async fn a_response_contains_its_connection_info_and_the_service_sees_the_client_identity() {
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
async fn the_http_2_client_uses_one_connection_per_endpoint() {
    let world = World::start().await;
    let mesh = world.join().await;
    let client = client(&mesh, Protocol::Http2);
    let mut endpoints = BTreeSet::new();
    for _ in 0..16 {
        let responses = [(); 2].map(|()| client.get(URL.parse().unwrap()));
        for response in join_all(responses).await {
            let response = response.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            assert_eq!(connection(&response).alpn(), Some("h2"));
            endpoints.insert(connection(&response).endpoint().to_owned());
            body(response).await;
        }
    }
    assert_eq!((endpoints.len(), world.through_gateways()), (2, 2));
}

#[tokio::test]
async fn connections_are_reused_unless_max_idle_per_host_is_zero() {
    let world = World::start().await;
    let mesh = world.join().await;
    let shares = client(&mesh, Protocol::Http1);
    let request = async |client: &HttpClient<_>| {
        let response = client.get(URL.parse().unwrap()).await.unwrap();
        let cluster = connection(&response).workload_cluster().unwrap().to_owned();
        body(response).await;
        cluster
    };
    let mut clusters = BTreeSet::new();
    for _ in 0..64 {
        clusters.insert(request(&shares).await);
    }
    assert_eq!((clusters.len(), world.through_gateways()), (2, 2));
    let shares_none = shares.clone().with_max_idle_per_host(0);
    for _ in 0..64 {
        clusters.insert(request(&shares_none).await);
    }
    assert_eq!((clusters.len(), world.through_gateways()), (2, 66));
    request(&shares).await;
    assert_eq!(world.through_gateways(), 66);
}

#[tokio::test]
async fn all_clients_of_a_mesh_share_the_connections_of_a_service() {
    let world = World::start().await;
    let mesh = world.join().await;
    for name in ["archive.weather", "archive.weather.svc.cluster.local"] {
        let url = format!("http://{name}:3003/");
        let response = client(&mesh, Protocol::Http1).get(url.parse().unwrap()).await.unwrap();
        body(response).await;
    }
    assert_eq!(world.through_gateways(), 1);
}

#[tokio::test]
async fn the_client_returns_errors_of_the_mesh_unchanged() {
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

/// Applies a connection pool rule for the archive service, and returns a client to which it applies.
async fn ruled(connection_pool: &str, protocol: Protocol) -> (World, HttpClient<Empty<Bytes>>) {
    let rule = format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: archive, namespace: weather}}
spec: {{host: archive.weather.svc.cluster.local, trafficPolicy: {{connectionPool: {connection_pool}}}}}
"
    );
    let world = World::start().await;
    world.sandbox.apply("cluster1", &rule).unwrap();
    let mesh = world.join().await;
    let ruled = |clusters: &Clusters| {
        let archive = clusters.get("archive.weather.svc.cluster.local", 3003, "");
        archive.is_some_and(|cluster| cluster.config.is_some())
    };
    let mut clusters = mesh.client().clusters().clone();
    clusters.wait_for(|clusters| clusters.as_deref().is_some_and(ruled)).await.unwrap();
    let client = client(&mesh, protocol);
    (world, client)
}

/// Advances the time for all tasks of this process.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_number_of_requests_per_connection_is_limited_by_the_rule() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (world, client) = ruled("{http: {maxRequestsPerConnection: 3}}", protocol).await;
        for _ in 0..7 {
            body(client.get(ARCHIVE.parse().unwrap()).await.unwrap()).await;
        }
        assert_eq!(world.through_gateways(), 3, "{protocol:?}: three, three and one");
    }
}

#[tokio::test]
async fn a_connection_serves_no_request_after_its_idle_timeout_or_maximum_age() {
    for rule in ["{http: {idleTimeout: 2s}}", "{tcp: {maxConnectionDuration: 2s}}"] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let (world, client) = ruled(rule, protocol).await;
            for _ in 0..2 {
                body(client.get(ARCHIVE.parse().unwrap()).await.unwrap()).await;
            }
            assert_eq!(world.through_gateways(), 1, "{rule}, {protocol:?}");
            pass(Duration::from_secs(2)).await;
            body(client.get(ARCHIVE.parse().unwrap()).await.unwrap()).await;
            assert_eq!(world.through_gateways(), 2, "{rule}, {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_busy_connection_ends_at_its_maximum_age_without_failing_a_request() {
    let (world, client) = ruled("{tcp: {maxConnectionDuration: 2s}}", Protocol::Http1).await;
    for _ in 0..10 {
        body(client.get(ARCHIVE.parse().unwrap()).await.unwrap()).await;
        pass(Duration::from_millis(500)).await;
    }
    assert!(world.through_gateways() > 1);
}
