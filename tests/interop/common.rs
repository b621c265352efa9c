//! What several of these tests do.

use mesh_connector::{Config, Mesh};
use mesh_tests::{peers::RealMesh, vm_files::Vm};

/// A VM that joins with the files that istiod would give it.
pub(crate) async fn join(real: &RealMesh) -> Mesh {
    Mesh::join(Config::from_vm_files(real.vm_files(&Vm::default())).unwrap()).await.unwrap()
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
