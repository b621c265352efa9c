//! Workloads in ambient mode, as a real istiod with ambient mode sends them: an internal address instead of a socket
//! address. This client does not support HBONE, so it must refuse them and must not send plaintext to them.

use std::{fmt::Write as _, time::Duration};

use mesh_connector::{
    Config, ErrorKind, Mesh, Target,
    explain::{ConnectionState, EndpointState, Probe},
};
use mesh_tests::{
    peers::{RealMesh, Workload},
    vm_files::Vm,
};
use tokio::net::TcpListener;

const HOST: &str = "orders.shop.svc.cluster.local";
const AMBIENT: &str = "annotations: {ambient.istio.io/redirection: enabled}";
const SIDECAR: &str = "labels: {app: orders, security.istio.io/tlsMode: istio}";
const PLAIN: &str = "labels: {app: orders}";

/// Returns the service `orders` in the network of the VM. Each pod has a name, an address, and labels or annotations.
fn orders(cluster_ip: &str, pods: &[(&str, &str, &str)]) -> String {
    let mut yaml = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: orders, namespace: shop}}
spec:
  clusterIP: {cluster_ip}
  clusterIPs: [{cluster_ip}]
  selector: {{app: orders}}
  ports: [{{name: tcp, port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: orders-1, namespace: shop, labels: {{kubernetes.io/service-name: orders}}}}
addressType: IPv4
ports: [{{name: tcp, port: 8080, protocol: TCP}}]
endpoints:
"
    );
    for (name, address, _) in pods {
        writeln!(
            yaml,
            "  - {{addresses: [{address}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}, namespace: shop}}}}"
        )
        .unwrap();
    }
    for (name, address, metadata) in pods {
        let labels = if metadata.starts_with("labels") { "" } else { ", labels: {app: orders}" };
        write!(
            yaml,
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, {metadata}{labels}}}
spec: {{serviceAccountName: orders, containers: [{{name: orders, image: orders}}]}}
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ip: {address}}}]
  conditions: [{{type: Ready, status: \"True\"}}]
"
        )
        .unwrap();
    }
    yaml
}

async fn start(yaml: &str) -> (RealMesh, Mesh) {
    let real = RealMesh::builder()
        .environment("PILOT_ENABLE_AMBIENT", "true")
        .file("clusters/cluster1/orders.yaml", yaml)
        .start()
        .await;
    let vm = Vm { network: "network1".to_owned(), ..Vm::default() };
    let mesh = Mesh::join(Config::from_vm_files(real.vm_files(&vm)).unwrap()).await.unwrap();
    (real, mesh)
}

/// Returns whether no connection to the listener was attempted until now.
async fn is_untouched(listener: &TcpListener) -> bool {
    tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err()
}

/// Waits until istiod sends the pod as an ambient workload, because its ambient index starts asynchronously.
async fn wait_until_ambient(mesh: &Mesh) {
    let name = format!("outbound|80||{HOST}");
    let mut endpoints = mesh.client().endpoint_changes();
    mesh.client().wait_for_endpoints(&name, Duration::from_secs(30)).await.unwrap();
    let watch = mesh.client().endpoints(&name);
    while watch.current().is_none_or(|endpoints| endpoints.unsupported.is_empty()) {
        assert!(endpoints.changed().await, "the client ended");
    }
}

async fn refused(mesh: &Mesh, listener: &TcpListener) {
    wait_until_ambient(mesh).await;
    let error = mesh.connect(HOST, 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    assert!(error.report().contains("reachable only via HBONE"), "{}", error.report());
    let explanation = mesh.explain_to(&Target::new(HOST, 80).unwrap(), Probe::Handshake).await;
    assert!(!explanation.is_ok(), "{explanation}");
    assert_eq!(explanation.endpoints[0].state, EndpointState::Refused, "{explanation}");
    assert!(is_untouched(listener).await, "the pod received a connection");
}

pub(crate) async fn an_ambient_pod_is_refused_with_the_reason_and_receives_no_plaintext() {
    for cluster_ip in ["10.1.0.77", "None"] {
        let (real, mesh) = start(&orders(cluster_ip, &[("orders-1", "127.0.1.40", AMBIENT)])).await;
        let listener = TcpListener::bind((real.ip(1, 40), 8080)).await.unwrap();
        refused(&mesh, &listener).await;
    }
}

pub(crate) async fn an_ambient_pod_is_refused_even_if_a_rule_disables_tls() {
    let rule = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders, namespace: shop}
spec: {host: orders.shop.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}
";
    let yaml = orders("10.1.0.77", &[("orders-1", "127.0.1.40", AMBIENT)]) + rule;
    let (real, mesh) = start(&yaml).await;
    let listener = TcpListener::bind((real.ip(1, 40), 8080)).await.unwrap();
    refused(&mesh, &listener).await;
}

pub(crate) async fn the_pods_with_a_sidecar_serve_a_service_that_also_has_ambient_pods() {
    let pods = [("orders-1", "127.0.1.40", AMBIENT), ("orders-2", "127.0.1.41", SIDECAR)];
    let (real, mesh) = start(&orders("10.1.0.77", &pods)).await;
    let listener = TcpListener::bind((real.ip(1, 40), 8080)).await.unwrap();
    let _sidecar = real
        .workload(Workload {
            name: "orders",
            cluster: "cluster1",
            namespace: "shop",
            service_account: "orders",
            listen: &format!("{}:8080", real.ip(1, 41)),
            mode: "tcp",
            arguments: &[],
        })
        .await;
    wait_until_ambient(&mesh).await;
    for _ in 0..8 {
        let stream = mesh.connect(HOST, 80).await.unwrap();
        assert_eq!(stream.connection().peer_addr().ip().to_string(), real.ip(1, 41));
        assert!(stream.connection().peer_name().is_some());
    }
    assert!(is_untouched(&listener).await, "the ambient pod received a connection");
    let explanation = mesh.explain(HOST, 80).await.unwrap().to_string();
    assert!(explanation.contains("reachable only via HBONE"), "{explanation}");
}

pub(crate) async fn a_plaintext_connection_that_got_no_response_is_explained_as_accepted() {
    let (real, mesh) = start(&orders("10.1.0.77", &[("orders-1", "127.0.1.40", PLAIN)])).await;
    let listener = TcpListener::bind((real.ip(1, 40), 8080)).await.unwrap();
    let target = Target::new(HOST, 80).unwrap();
    let silent = mesh.explain_to(&target, Probe::Handshake).await;
    assert_eq!(silent.connection.as_ref().unwrap().state, ConnectionState::Accepted, "{silent}");
    assert!(silent.to_string().contains("accepted, no response yet"), "{silent}");
    let closing = async {
        let _first = listener.accept().await.unwrap();
        drop(listener.accept().await.unwrap());
    };
    let (closed, ()) = tokio::join!(mesh.explain_to(&target, Probe::Handshake), closing);
    assert!(!closed.is_ok(), "{closed}");
    assert!(closed.to_string().contains("closed it without a response"), "{closed}");
}
