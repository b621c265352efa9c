//! Failures of the environment.

use std::time::Duration;

use mesh_connector::ErrorKind;
use mesh_sandbox::Event;
use tokio::{net::TcpListener, time::timeout};

use crate::{World, exchange};

/// Waits until istiod reports that the client has disconnected.
pub(crate) async fn gone(world: &World, mark: u64) {
    let events = world.sandbox.events();
    let event = events.wait_since(mark, |event| match event {
        Event::AdsDisconnected { .. } => Some(()),
        _ => None,
    });
    timeout(Duration::from_secs(10), event).await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_membership_but_not_its_connections() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut stream = mesh.connect("ledger.payments.example", 5432).await.unwrap();
    let connector = mesh.connector();
    let mark = world.sandbox.events().mark();
    drop(mesh);
    assert!(connector.connect("ledger.payments.example", 5432).await.is_ok());
    drop(connector);
    gone(&world, mark).await;
    assert!(exchange(&mut stream, "still there").await.unwrap().ends_with("still there\n"));
}

#[tokio::test]
async fn after_shutdown_open_connections_continue_and_new_ones_are_refused() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut stream = mesh.connect("ledger.payments.example", 5432).await.unwrap();
    let mark = world.sandbox.events().mark();
    mesh.shutdown().await;
    gone(&world, mark).await;
    assert!(exchange(&mut stream, "still there").await.unwrap().ends_with("still there\n"));
    let error = mesh.connect("archive.weather", 3003).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
    assert_eq!(mesh.ready().await.unwrap_err().kind(), ErrorKind::Closed);
    mesh.shutdown().await;
}

#[tokio::test]
async fn without_istiod_known_services_are_still_reachable() {
    let world = World::start().await;
    let mesh = world.join().await;
    mesh.connect("ledger.payments.example", 5432).await.unwrap();
    world.sandbox.stop_istiod().await;
    mesh.connect("ledger.payments.example", 5432).await.unwrap();
}

#[tokio::test]
async fn without_istiod_a_first_connection_fails_at_its_deadline_with_the_reason() {
    let world = World::start().await;
    let mesh = world.join().await.with_connect_deadline(Duration::from_millis(300));
    world.sandbox.stop_istiod().await;
    let error = mesh.connect("ledger.payments.example", 5432).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ControlPlane);
    assert!(error.report().contains("istiod"), "{}", error.report());
}

#[tokio::test]
async fn a_host_that_the_gateway_does_not_expose_is_an_error_with_possible_causes() {
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
    let error = mesh.connect("hidden.example", 5432).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    let candidates = error.attempts()[0].error.possible_causes();
    assert!(candidates.iter().any(|cause| cause.contains("hosts")), "{error}");
    assert!(error.to_string().contains("outbound_.5432_._.hidden.example"), "{error}");
}

#[tokio::test]
async fn a_service_without_endpoints_is_an_error_with_possible_causes() {
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
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", service, "empty.weather.svc.cluster.local").await;
    let error = mesh.connect("empty.weather", 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint);
    assert!(error.to_string().contains("no endpoint"), "{error}");
}

#[tokio::test]
async fn failed_endpoints_are_reported_and_tried_last() {
    let world = World::start().await;
    let mesh = world.join().await;
    let failing = || mesh.health().endpoints().into_iter().filter(|one| one.failures > 0).collect::<Vec<_>>();
    world.sandbox.stop_gateway("network2").await.unwrap();
    while failing().is_empty() {
        mesh.connect("forecast.weather", 3002).await.unwrap();
    }
    let explanation = mesh.explain("forecast.weather", 3002).await.unwrap().to_string();
    assert!(explanation.contains("failed 1 time in a row (last: dial)"), "{explanation}");
    let failing = failing();
    let told = (failing.len(), failing[0].failures, failing[0].last_failure);
    assert_eq!(told, (1, 1, Some(ErrorKind::Dial)), "{failing:?}");
    let _open = mesh.connect("forecast.weather", 3002).await.unwrap();
    let connections = mesh.health().endpoints().iter().map(|one| one.connections).sum::<u32>();
    assert_eq!(connections, 1, "closed connections are not counted");
}

#[tokio::test]
async fn a_new_service_is_reachable_as_soon_as_it_has_a_name() {
    let world = World::start().await;
    let mesh = world.join().await;
    mesh.connect("forecast.weather", 3002).await.unwrap();
    let mut names = mesh.client().names().clone();
    for index in 0..10 {
        let host = format!("new-{index}.example");
        let entry = format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: new-{index}, namespace: payments}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 5432, name: tcp, protocol: TCP}}]
  endpoints: [{{address: 2.2.2.9}}]
"
        );
        world.sandbox.apply("cluster1", &entry).unwrap();
        names.wait_for(|names| names.get(&host).is_some()).await.unwrap();
        mesh.connect(&host, 5432).await.unwrap();
    }
}

#[tokio::test]
async fn endpoints_that_change_under_load_fail_no_connection() {
    let slice = |pods: &str| {
        format!(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: forecast-x1
  namespace: weather
  labels: {{kubernetes.io/service-name: forecast}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{pods}]
"
        )
    };
    let pod = "{addresses: [10.10.1.11], conditions: {ready: true}, \
               targetRef: {kind: Pod, name: forecast-1a, namespace: weather}}";
    let world = World::start().await;
    let mesh = world.join().await;
    let gateways = async || {
        let name = "outbound|3002||forecast.weather.svc.cluster.local";
        mesh.client().wait_for_endpoints(name, Duration::from_secs(10)).await.unwrap().iter().count()
    };
    for (pods, expected) in [("", 1), (pod, 2)].repeat(4) {
        world.sandbox.apply("cluster1", &slice(pods)).unwrap();
        while gateways().await != expected {
            // Until the client knows that the pod is gone, its gateway resets the connection, and another gateway
            // serves.
            mesh.connect("forecast.weather", 3002).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_gateway_that_restarts_repeatedly_fails_no_connection_while_the_other_serves() {
    let world = World::start().await;
    let mesh = world.join().await;
    for _ in 0..10 {
        world.sandbox.stop_gateway("network2").await.unwrap();
        for _ in 0..4 {
            mesh.connect("forecast.weather", 3002).await.unwrap();
        }
        world.sandbox.restore_gateway("network2").unwrap();
        for _ in 0..4 {
            mesh.connect("forecast.weather", 3002).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_slow_gateway_delays_a_connection_only_if_no_other_is_left() {
    let world = World::start().await;
    let mesh = world.join().await;
    mesh.connect("forecast.weather", 3002).await.unwrap();
    for network in ["network1", "network2"] {
        world.sandbox.slow_gateway(network, Duration::from_millis(300)).unwrap();
    }
    let hasty = mesh.with_connect_deadline(Duration::from_millis(100));
    let error = hasty.connect("forecast.weather", 3002).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
    assert!(error.to_string().contains("within the deadline"), "{error}");
    mesh.connect("forecast.weather", 3002).await.unwrap();
    world.sandbox.slow_gateway("network1", Duration::from_secs(60)).unwrap();
    world.sandbox.restore_gateway("network2").unwrap();
    for _ in 0..4 {
        let stream =
            mesh.with_connect_deadline(Duration::from_secs(3)).connect("forecast.weather", 3002).await;
        assert_eq!(stream.unwrap().connection().workload_cluster(), Some("cluster2"));
    }
}

#[tokio::test]
async fn a_workload_that_accepts_only_hbone_is_refused_and_receives_no_bytes() {
    let world = World::start().await;
    let mesh = world.join().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let entry = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: tunnelled, namespace: weather}}
spec:
  hosts: [tunnelled.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1, labels: {{networking.istio.io/tunnel: http}}}}]
"
    );
    world.apply(&mesh, "cluster1", &entry, "tunnelled.example").await;
    let error = mesh.connect("tunnelled.example", 8080).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    assert!(error.report().contains(&format!("127.0.0.1:{port}")), "{}", error.report());
    assert!(error.report().contains("only via HBONE"), "{}", error.report());
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "the workload received a connection");
}
