//! Calls to a real sidecar (Istio's agent and Envoy) through a real gateway, for each protocol, in modes STRICT and
//! PERMISSIVE.

use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{Config, ConnectionInfo, Mesh, Protocol, Target, hyper::HttpClient};
use mesh_tests::{
    apps,
    peers::{Child, RealMesh},
    vm_files::Vm,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use xds_proto::istio::v1::auth::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};

/// A service in cluster2 whose pod has a sidecar. `127.0.2.50` is the address of the pod, `{app}` the address of the
/// application, and `{protocol}` the name and protocol of the port.
const SERVICE: &str = r#"apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: weather}
spec:
  clusterIP: 10.2.0.50
  clusterIPs: [10.2.0.50]
  selector: {app: guarded}
  ports: [{name: {protocol}, port: 4000, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata:
  name: guarded-1
  namespace: weather
  labels: {app: guarded, version: v1, security.istio.io/tlsMode: istio}
spec: {serviceAccountName: guarded, containers: [{name: guarded, image: guarded}]}
status: {phase: Running, podIP: 127.0.2.50, podIPs: [{ip: 127.0.2.50}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guarded-1, namespace: weather, labels: {kubernetes.io/service-name: guarded}}
addressType: IPv4
ports: [{name: {protocol}, port: 8080, protocol: TCP}]
endpoints:
  - addresses: [127.0.2.50]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: guarded-1, namespace: weather}
"#;

/// The objects for the control plane: the listener of the sidecar, and its mTLS mode.
const POLICY: &str = r#"apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: guarded, namespace: weather}
spec:
  workloadSelector: {labels: {app: guarded}}
  ingress:
    - port: {number: 8080, name: {protocol}, protocol: {PROTOCOL}}
      bind: 127.0.2.50
      defaultEndpoint: {app}
  egress: [{hosts: ["~/*"]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: weather}
spec: {mtls: {mode: {mode}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: guarded, namespace: weather}
spec:
  host: guarded.weather.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}}]
"#;

const URL: &str = "http://guarded.weather:4000/x";
const GUARDED: &str = "spiffe://cluster.local/ns/weather/sa/guarded";

/// A service behind a real sidecar, and a VM that has joined its mesh.
pub(crate) struct Guarded {
    pub(crate) real: RealMesh,
    pub(crate) mesh: Mesh,
    _peers: (Child, Child),
}

/// Starts the service `guarded.weather:4000` in cluster2 with this protocol, mTLS mode and application.
pub(crate) async fn guarded(protocol: &str, mode: &str, app: std::net::SocketAddr) -> Guarded {
    let mut real = RealMesh::start().await;
    let fill = |yaml: &str| {
        yaml.replace("{protocol}", protocol)
            .replace("{PROTOCOL}", &protocol.to_uppercase())
            .replace("{mode}", mode)
            .replace("{app}", &app.to_string())
    };
    // The istiod of the VM uses the ports of the config cluster, so the service must exist there too.
    let service = fill(SERVICE);
    real.apply("cluster1", service.split("---").next().unwrap()).await;
    real.apply("cluster2", &service).await;
    real.apply("cluster1", &fill(POLICY)).await;
    let peers = tokio::join!(real.gateway(2), real.sidecar(2, "guarded", 50, 8080));
    let mesh = Mesh::join(Config::from_vm_files(real.vm_files(&Vm::default())).unwrap()).await.unwrap();
    Guarded { real, mesh, _peers: peers }
}

async fn http1(guarded: &Guarded) {
    let response = guarded.mesh.http_client::<Empty<Bytes>>().get(Uri::from_static(URL)).await.unwrap();
    let connection = response.extensions().get::<ConnectionInfo>().unwrap().clone();
    assert_eq!(connection.peer_name(), Some(GUARDED));
    assert_eq!(connection.alpn(), Some("http/1.1"));
    assert_eq!(connection.peer_addr().ip().to_string(), guarded.real.ip(2, 2));
    assert!(response.status().is_success(), "{}", response.status());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(!body.is_empty());
}

/// Starts an HTTP application of the test.
async fn http_app() -> apps::App {
    apps::http("guarded").await
}

pub(crate) async fn http1_reaches_a_strict_sidecar() {
    let app = http_app().await;
    http1(&guarded("http", "STRICT", app.address).await).await;
}

pub(crate) async fn http1_reaches_a_permissive_sidecar() {
    let app = http_app().await;
    http1(&guarded("http", "PERMISSIVE", app.address).await).await;
}

/// A VM in the network of the sidecar needs no gateway.
async fn directly(mode: &str) {
    let app = http_app().await;
    let guarded = guarded("http", mode, app.address).await;
    let near = Vm { network: "network2".into(), cluster: "cluster2".into(), ..Vm::default() };
    let mesh = Mesh::join(Config::from_vm_files(guarded.real.vm_files(&near)).unwrap()).await.unwrap();
    let response = mesh.http_client::<Empty<Bytes>>().get(Uri::from_static(URL)).await.unwrap();
    let connection = response.extensions().get::<ConnectionInfo>().unwrap();
    assert_eq!(connection.peer_name(), Some(GUARDED));
    assert!(!connection.is_through_gateway());
    assert_eq!(connection.peer_addr().to_string(), format!("{}:8080", guarded.real.ip(2, 50)));
    assert!(response.status().is_success(), "{}", response.status());
}

pub(crate) async fn a_strict_sidecar_on_the_own_network_is_reached_directly() {
    directly("STRICT").await;
}

pub(crate) async fn a_permissive_sidecar_on_the_own_network_is_reached_directly_and_by_mtls() {
    directly("PERMISSIVE").await;
}

async fn grpc(mode: &str) {
    let app = apps::grpc().await;
    let guarded = guarded("grpc", mode, app.address).await;
    let endpoint = tonic::transport::Endpoint::from_static("http://guarded.weather:4000");
    let channel = guarded.mesh.grpc_channel(endpoint);
    let request =
        IstioCertificateRequest { csr: "through the mesh".into(), validity_duration: 0, metadata: None };
    let response = IstioCertificateServiceClient::new(channel).create_certificate(request).await.unwrap();
    assert_eq!(response.into_inner().cert_chain, ["through the mesh"]);
}

pub(crate) async fn grpc_reaches_a_strict_sidecar() {
    grpc("STRICT").await;
}

pub(crate) async fn grpc_reaches_a_permissive_sidecar() {
    grpc("PERMISSIVE").await;
}

async fn tcp(mode: &str) {
    let app = apps::echo("guarded").await;
    let guarded = guarded("tcp", mode, app.address).await;
    let stream = guarded.mesh.connect("guarded.weather", 4000).await.unwrap();
    assert_eq!(stream.connection().alpn(), None);
    assert_eq!(stream.connection().peer_name(), Some(GUARDED));
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"hello\n").await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "guarded: hello\n");
}

pub(crate) async fn raw_tcp_reaches_a_strict_sidecar() {
    tcp("STRICT").await;
}

pub(crate) async fn raw_tcp_reaches_a_permissive_sidecar() {
    tcp("PERMISSIVE").await;
}

pub(crate) async fn a_subset_is_reached_by_its_name() {
    let app = http_app().await;
    let guarded = guarded("http", "STRICT", app.address).await;
    let target =
        Target::new("guarded.weather", 4000).unwrap().with_subset("v1").with_protocol(Protocol::Http1);
    let stream = guarded.mesh.connect_to(&target).await.unwrap();
    assert_eq!(stream.connection().sni(), Some("outbound_.4000_.v1_.guarded.weather.svc.cluster.local"));
    let client: HttpClient<Empty<Bytes>> = HttpClient::new(guarded.mesh.connector().with_subset("v1"));
    let request = Request::get(URL).body(Empty::new()).unwrap();
    assert!(client.request(request).await.unwrap().status().is_success());
    let error = guarded.mesh.connect_to(&target.with_subset("v2")).await.unwrap_err();
    assert_eq!(error.kind(), mesh_connector::ErrorKind::UnknownSubset, "{}", error.report());
}
