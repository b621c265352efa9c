//! The error of a failed connection names the cause in terms of the mesh.

use mesh_connector::ErrorKind;

use super::stage;

#[tokio::test]
async fn a_name_unknown_to_mesh_and_upstream_is_an_unknown_host() {
    let stage = stage().await;
    let error = stage.mesh.connect("no-such-service.weather", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHost, "{}", error.report());
    assert!(error.to_string().contains("no-such-service.weather"), "{error}");
}

#[tokio::test]
async fn the_error_of_an_unknown_port_lists_the_ports_of_the_service() {
    let stage = stage().await;
    let error = stage.mesh.connect("forecast.weather", 3003).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPort, "{}", error.report());
    assert!(error.to_string().contains("3002"), "{error}");
}

#[tokio::test]
async fn the_error_of_a_service_without_endpoints_lists_possible_causes() {
    let stage = stage().await;
    stage
        .sandbox
        .apply("cluster2", "apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: weather}\nspec:\n  clusterIP: 10.2.0.77\n  ports: [{name: http, port: 80}]\n")
        .unwrap();
    let name = "empty.weather.svc.cluster.local";
    stage.mesh.client().names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
    let error = stage.mesh.connect(name, 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint, "{}", error.report());
    assert!(!error.possible_causes().is_empty(), "{}", error.report());
}

#[tokio::test]
async fn the_error_distinguishes_unhealthy_endpoints_from_missing_ones() {
    let sandbox = super::sandbox().await;
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    // Health statuses exist only for endpoints of the same network: gateways have unknown health.
    let config =
        mesh_connector::Config::builder().with_vm_files(vm.path()).with_network("network1").build().unwrap();
    let mesh = mesh_connector::Mesh::join(config).await.unwrap();
    sandbox
        .apply(
            "cluster1",
            "apiVersion: v1
kind: Service
metadata: {name: sick, namespace: weather}
spec:
  clusterIP: 10.1.0.78
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: sick-1, namespace: weather, labels: {security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: sick, containers: [{name: sick, image: sick}]}
status: {phase: Running, podIP: 10.10.1.78, podIPs: [{ip: 10.10.1.78}], conditions: [{type: Ready, status: \"False\"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: sick-1, namespace: weather, labels: {kubernetes.io/service-name: sick}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
  - addresses: [10.10.1.78]
    # Without the second, istiod considers the endpoint to be terminating.
    conditions: {ready: false, terminating: false}
    targetRef: {kind: Pod, name: sick-1, namespace: weather}
",
        )
        .unwrap();
    let name = "sick.weather.svc.cluster.local";
    mesh.client().names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
    let error = mesh.connect(name, 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint, "{}", error.report());
    assert!(error.to_string().contains("unhealthy"), "{error}");
}

#[tokio::test]
async fn the_error_of_a_gateway_reset_names_gateway_sni_and_possible_causes() {
    let stage = stage().await;
    stage
        .sandbox
        .apply(
            "cluster1",
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hidden, namespace: payments}
spec:
  hosts: [hidden.payments.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.20.9.9, network: network2, serviceAccount: ledger}]
",
        )
        .unwrap();
    let host = "hidden.payments.example";
    stage.mesh.client().names().clone().wait_for(|names| names.get(host).is_some()).await.unwrap();
    let error = stage.mesh.connect(host, 5432).await.unwrap_err();
    let attempt = &error.attempts()[0];
    assert_eq!(attempt.gateway.as_deref(), Some("cluster2"));
    assert_eq!(attempt.sni.as_deref(), Some("outbound_.5432_._.hidden.payments.example"));
    assert!(attempt.error.possible_causes().len() > 1, "{}", error.report());
}

#[tokio::test]
async fn a_peer_with_another_identity_is_rejected_in_the_handshake() {
    let stage = stage().await;
    stage.sandbox.impersonate("weather", "forecast", "mallory").unwrap();
    let error = stage.mesh.connect("forecast.weather", 3002).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    let mismatch = error.identity_mismatch().unwrap();
    assert_eq!(mismatch.expected, ["spiffe://cluster.local/ns/weather/sa/forecast"]);
    assert_eq!(mismatch.presented, ["spiffe://cluster.local/ns/weather/sa/mallory"]);
}

#[tokio::test]
async fn a_connection_fails_over_from_a_stopped_gateway_to_the_other_one() {
    let stage = stage().await;
    stage.sandbox.stop_gateway("network1").await.unwrap();
    for _ in 0..16 {
        let stream = stage.mesh.connect("forecast.weather", 3002).await.unwrap();
        assert_eq!(stream.connection().workload_cluster(), Some("cluster2"));
    }
}

#[tokio::test]
async fn a_name_of_upstream_dns_uses_passthrough_unless_mtls_is_required() {
    let stage = stage().await;
    let error = stage.mesh.requiring_mtls().connect("intranet.example.com", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
}
