//! What several of these tests do.

use mesh_connector::{Config, Mesh};
use mesh_tests::{
    peers::{Child, RealMesh, Workload},
    vm_files::Vm,
};

/// A VM that joins with the files that istiod would give it.
pub(crate) async fn join(real: &RealMesh) -> Mesh {
    Mesh::join(Config::from_vm_files(real.vm_files(&Vm::default())).unwrap()).await.unwrap()
}

/// A service outside of Kubernetes that the gateway exposes: its host is under the Gateway's `*.local`.
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

/// The workload of [`LEDGER`], which echoes lines.
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

/// The ServiceEntry of a service of the mesh, `HOST.somedomain` on port 27018, without sidecars: `endpoints` are addresses.
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

/// What a DestinationRule says about that service.
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
