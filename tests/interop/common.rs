//! Helpers for several of these tests.

use mesh_connector::{Config, Mesh};
use mesh_tests::{
    peers::{Child, RealMesh, Workload},
    vm_files::Vm,
};

/// Joins a VM with the files that istiod provides.
pub(crate) async fn join(real: &RealMesh) -> Mesh {
    Mesh::join(Config::from_vm_files(real.vm_files(&Vm::default())).unwrap()).await.unwrap()
}

/// A service outside Kubernetes that the gateway exposes, because its host matches `*.local` in the Gateway.
pub(crate) const LEDGER: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ledger, namespace: weather}
spec:
  hosts: [ledger.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp-ledger, protocol: TCP}]
  endpoints: [{address: 127.0.2.30, network: network2, serviceAccount: ledger}]
";

/// Starts the workload of [`LEDGER`], which echoes lines.
pub(crate) async fn ledger(real: &RealMesh) -> Child {
    let ledger = Workload {
        name: "ledger",
        cluster: "cluster2",
        namespace: "weather",
        service_account: "ledger",
        listen: &format!("{}:5432", real.ip(2, 30)),
        mode: "tcp",
        arguments: &[],
    };
    real.workload(ledger).await
}

/// Returns the ServiceEntry of the service `HOST.somedomain` in the mesh, on port 27018 and without sidecars.
/// `endpoints` are addresses.
pub(crate) fn service_entry(host: &str, endpoints: &[String], target_port: u16) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("{{address: {address}}}")).collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}, namespace: weather}}
spec:
  hosts: [{host}.somedomain]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 27018, name: tcp, protocol: TCP, targetPort: {target_port}}}]
  endpoints: [{}]
",
        endpoints.join(", ")
    )
}

/// Returns a DestinationRule for that service.
pub(crate) fn destination_rule(host: &str, policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: weather}}
spec:
  host: {host}.somedomain
  trafficPolicy: {policy}
"
    )
}
