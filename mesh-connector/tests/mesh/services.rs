//! Types of services.

use mesh_connector::Transport;

use crate::{World, exchange};

#[tokio::test]
async fn endpoints_by_host_name_are_resolved_by_upstream_dns() {
    // The host is also a name of the mesh, with a virtual IP that accepts no connections.
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns, namespace: payments}
spec:
  hosts: [dns.example]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  endpoints: [{address: localhost}]
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", entry, "dns.example").await;
    let mut stream = mesh.connect("dns.example", 5432).await.unwrap();
    assert_eq!(stream.connection().transport(), Transport::Plaintext);
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}

#[tokio::test]
async fn a_headless_service_is_reachable_through_the_gateway_by_its_name() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: members, namespace: weather}
spec:
  clusterIP: None
  selector: {app: archive}
  ports: [{name: tcp, port: 7000, targetPort: 7000}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: members-1
  namespace: weather
  labels: {kubernetes.io/service-name: members}
addressType: IPv4
ports: [{name: tcp, port: 7000, protocol: TCP}]
endpoints:
  - addresses: [10.20.1.31]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: archive-2a, namespace: weather}
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster2", service, "members.weather.svc.cluster.local").await;
    let mut stream = mesh.connect("members.weather.svc.cluster.local", 7000).await.unwrap();
    assert!(stream.connection().is_through_gateway());
    assert_eq!(stream.connection().peer().unwrap().service_account(), "archive");
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}

#[tokio::test]
async fn a_service_added_later_is_reachable_without_a_restart() {
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: late, namespace: payments}
spec:
  hosts: [late.payments.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  endpoints: [{address: 2.2.2.9}]
";
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", entry, "late.payments.example").await;
    let mut stream = mesh.connect("late.payments.example", 5432).await.unwrap();
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}
