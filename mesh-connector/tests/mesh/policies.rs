//! A pooled connection serves no request after its policy, identity or expected identities have changed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mesh_connector::{
    ConnectionInfo, Error, Mesh, Protocol, Transport,
    hyper::HttpClient,
    nds_client::resources::cluster::{Cluster, Clusters},
};
use mesh_sandbox::Sandbox;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout},
};
use tonic::{body::Body, transport::Endpoint};
use tower_service::Service as _;

use crate::World;

const ORDERS: &str = "orders.example";
const URL: &str = "http://orders.example/";
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Sends a request, reads the response, and returns the connection.
type Call = Box<dyn Fn() -> BoxFuture<'static, Result<ConnectionInfo, Error>>>;

fn http(mesh: &Mesh, protocol: Protocol, url: &str) -> Call {
    let client = HttpClient::<Empty<Bytes>>::new(mesh.connector().with_protocol(protocol));
    let url: Uri = url.parse().unwrap();
    Box::new(move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let response = client.get(url).await?;
            let connection = response.extensions().get::<ConnectionInfo>().unwrap().clone();
            response.into_body().collect().await?;
            Ok(connection)
        })
    })
}

fn grpc(mesh: &Mesh, url: &str) -> Call {
    let channel = mesh.grpc_channel(Endpoint::from_shared(url.to_owned()).unwrap());
    Box::new(move || {
        let mut channel = channel.clone();
        Box::pin(async move {
            let request = Request::post("/orders.Orders/List").body(Body::empty()).unwrap();
            let response =
                channel.call(request).await.map_err(|status| Error::find(&status).unwrap().clone())?;
            let connection = response.extensions().get::<ConnectionInfo>().unwrap().clone();
            response.into_body().collect().await?;
            Ok(connection)
        })
    })
}

/// Returns all kinds of clients.
fn calls(mesh: &Mesh, url: &str) -> [Call; 3] {
    [http(mesh, Protocol::Http1, url), http(mesh, Protocol::Http2, url), grpc(mesh, url)]
}

/// Returns a service with one endpoint that has this identity, and a rule with this TLS mode.
fn orders(mode: &str, identity: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders, namespace: payments}}
spec:
  hosts: [{ORDERS}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
    - {{address: 2.2.2.9, serviceAccount: {identity}, labels: {{security.istio.io/tlsMode: istio}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders, namespace: payments}}
spec: {{host: {ORDERS}, trafficPolicy: {{tls: {{mode: {mode}}}}}}}
"
    )
}

fn orders_of(clusters: Option<&Clusters>) -> Option<Arc<Cluster>> {
    clusters?.get(ORDERS, 80, "")
}

/// Applies YAML and waits until istiod has sent the resulting cluster.
async fn change(world: &World, mesh: &Mesh, yaml: &str) {
    let mut clusters = mesh.client().clusters().clone();
    let before = orders_of(clusters.current().as_deref());
    world.sandbox.apply("cluster1", yaml).unwrap();
    let changed = clusters.wait_for(|clusters| {
        let now = orders_of(clusters.as_deref());
        now.as_ref().map(Arc::as_ptr) != before.as_ref().map(Arc::as_ptr)
    });
    timeout(TIME_LIMIT, changed).await.unwrap().unwrap();
}

#[tokio::test]
async fn after_a_rule_requires_mtls_the_next_request_does_not_use_plaintext() {
    let world = World::start().await;
    let mesh = world.join().await;
    change(&world, &mesh, &orders("DISABLE", "orders")).await;
    let calls = calls(&mesh, URL);
    for call in &calls {
        for _ in 0..2 {
            assert_eq!(call().await.unwrap().transport(), Transport::Plaintext);
        }
    }
    change(&world, &mesh, &orders("ISTIO_MUTUAL", "orders")).await;
    for call in &calls {
        let connection = call().await.unwrap();
        assert_eq!(connection.transport(), Transport::MutualTls);
        assert_eq!(connection.peer().unwrap().service_account(), "orders");
    }
}

#[tokio::test]
async fn a_change_of_the_expected_identities_causes_new_connections() {
    let world = World::start().await;
    let mesh = world.join().await;
    change(&world, &mesh, &orders("ISTIO_MUTUAL", "orders")).await;
    let calls = calls(&mesh, URL);
    for identity in ["orders", "billing"] {
        if identity != "orders" {
            change(&world, &mesh, &orders("ISTIO_MUTUAL", identity)).await;
        }
        for call in &calls {
            assert_eq!(call().await.unwrap().peer().unwrap().service_account(), identity);
        }
    }
}

#[tokio::test]
async fn a_new_identity_causes_new_connections() {
    let second = Duration::from_secs(2);
    let world = World::start_with(Sandbox::builder().with_certificate_lifetimes(second, second)).await;
    let mesh = world.join().await;
    let calls = calls(&mesh, "http://archive.weather:3003/");
    for call in &calls {
        call().await.unwrap();
    }
    assert_eq!(world.through_gateways(), 2, "one per HTTP version");
    let mut identity = mesh.client().identity().clone();
    let first = identity.current().unwrap().epoch();
    let renewed = identity.wait_for(|identity| identity.as_ref().is_some_and(|now| now.epoch() > first));
    timeout(TIME_LIMIT, renewed).await.unwrap().unwrap();
    for call in &calls {
        call().await.unwrap();
    }
    assert_eq!(world.through_gateways(), 4);
}

#[tokio::test]
async fn connections_to_a_removed_endpoint_serve_no_request() {
    // Without this pod, the gateway of its network is not an endpoint of the service. The gateway keeps running.
    let no_pods = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: forecast-x1
  namespace: weather
  labels: {kubernetes.io/service-name: forecast}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: []
";
    let world = World::start().await;
    let mesh = world.join().await;
    let calls = calls(&mesh, "http://forecast.weather:3002/");
    let endpoints = async || {
        let mut endpoints = BTreeSet::new();
        for call in calls.iter().cycle().take(48) {
            endpoints.insert(call().await.unwrap().endpoint().to_owned());
        }
        endpoints
    };
    let before = endpoints().await;
    assert_eq!(before.len(), 2);
    let mut known = mesh.client().endpoints("outbound|3002||forecast.weather.svc.cluster.local");
    world.sandbox.apply("cluster1", no_pods).unwrap();
    let fewer = known.wait_for(|endpoints| endpoints.iter().count() == 1);
    timeout(TIME_LIMIT, fewer).await.unwrap();
    let after = endpoints().await;
    assert!(after.len() == 1 && after.is_subset(&before), "{before:?}, {after:?}");
}

/// Starts a server outside the mesh, on every loopback address. Returns its port and a receiver of ended connections.
async fn outside() -> (u16, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, ended) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(async |_: Request<Incoming>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
            });
            tokio::spawn(async move {
                http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await.unwrap();
                let _ = tell.send(());
            });
        }
    });
    (port, ended)
}

#[tokio::test]
async fn alternating_requests_to_two_original_destinations_use_two_connections() {
    let world = World::start().await;
    let mesh = world.join().await;
    let (port, mut ended) = outside().await;
    let entry = format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: direct, namespace: payments}}
spec:
  hosts: [direct.example]
  addresses: [127.0.0.1, 127.0.0.2]
  location: MESH_EXTERNAL
  resolution: NONE
  ports: [{{number: {port}, name: http, protocol: HTTP}}]
"
    );
    world.apply(&mesh, "cluster1", &entry, "direct.example").await;
    let addresses = ["127.0.0.1", "127.0.0.2"];
    let calls = addresses.map(|address| http(&mesh, Protocol::Http1, &format!("http://{address}:{port}/")));
    for _ in 0..4 {
        for (call, address) in calls.iter().zip(addresses) {
            let connection = call().await.unwrap();
            assert_eq!(connection.service(), Some("direct.example"));
            assert_eq!(connection.endpoint(), format!("{address}:{port}"));
        }
    }
    let connections: Vec<_> = mesh.health().endpoints().iter().map(|status| status.connections).collect();
    assert_eq!(connections, [1, 1]);
    assert!(ended.try_recv().is_err(), "no connection has ended");
}

#[tokio::test]
async fn a_host_that_moves_into_the_mesh_is_not_called_over_older_connections() {
    let world = World::start().await;
    let mesh = world.join().await;
    let (port, mut ended) = outside().await;
    let call = http(&mesh, Protocol::Http1, &format!("http://127.0.0.1:{port}/"));
    for _ in 0..2 {
        let connection = call().await.unwrap();
        assert_eq!((connection.service(), connection.transport()), (None, Transport::Plaintext));
    }
    let entry = format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: moved, namespace: payments}}
spec:
  hosts: [moved.example]
  addresses: [127.0.0.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {port}, name: http, protocol: HTTP}}]
  endpoints:
    - {{address: 2.2.2.7, serviceAccount: moved, labels: {{security.istio.io/tlsMode: istio}}}}
"
    );
    world.apply(&mesh, "cluster1", &entry, "moved.example").await;
    let connection = call().await.unwrap();
    assert_eq!(connection.service(), Some("moved.example"));
    assert_eq!(connection.transport(), Transport::MutualTls);
    let before = Instant::now();
    tokio::time::pause();
    ended.recv().await.unwrap();
    assert!(before.elapsed() <= Duration::from_secs(90), "the connection ends by its idle timeout");
}
