//! Meshes for tests: the mesh of the tour, or one written in the test.

use std::path::Path;

use mesh_sandbox::{Sandbox, SandboxBuilder};
use tempfile::TempDir;

/// Starts the mesh of the tour.
pub(crate) async fn tour() -> Sandbox {
    Sandbox::builder().start().await.unwrap()
}

/// A mesh folder that a test writes.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// A folder with clusters that contain only a network.
    pub(crate) fn new(clusters: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (cluster, network) in clusters {
            folder.write(cluster, "system.yaml", &system(network));
        }
        folder
    }

    /// A copy of the mesh of the tour.
    pub(crate) fn tour() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh");
        for cluster in ["cluster1", "cluster2"] {
            for file in std::fs::read_dir(source.join(cluster)).unwrap() {
                let file = file.unwrap().path();
                let name = file.file_name().unwrap().to_str().unwrap();
                folder.write(cluster, name, &std::fs::read_to_string(&file).unwrap());
            }
        }
        std::fs::copy(source.join("upstream.hosts"), folder.path().join("upstream.hosts")).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces a file atomically, so that a reload never sees a part of it.
    pub(crate) fn write(&self, cluster: &str, name: &str, text: &str) {
        let folder = self.path().join(cluster);
        std::fs::create_dir_all(&folder).unwrap();
        let draft = folder.join(format!(".{name}.draft"));
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, folder.join(name)).unwrap();
    }

    pub(crate) fn remove(&self, cluster: &str, name: &str) {
        std::fs::remove_file(self.path().join(cluster).join(name)).unwrap();
    }

    pub(crate) fn builder(&self) -> SandboxBuilder {
        Sandbox::builder().with_mesh_dir(self.path())
    }

    pub(crate) async fn start(&self) -> Sandbox {
        self.builder().start().await.unwrap()
    }
}

fn system(network: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: istio-system\n  labels:\n    \
         topology.istio.io/network: {network}\n"
    )
}

/// A service in namespace `a` with the port 80, named `http`, and target port 8080.
pub(crate) fn service(name: &str, cluster_ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: a}}\nspec:\n  clusterIP: \
         {cluster_ip}\n  selector: {{app: {name}}}\n  ports:\n  - {{name: http, port: 80, targetPort: 8080}}\n"
    )
}

/// A ready pod in namespace `a` with a sidecar.
pub(crate) fn pod(name: &str, app: &str, address: &str) -> String {
    pod_with(name, app, address, "security.istio.io/tlsMode: istio", "True")
}

pub(crate) fn pod_with(name: &str, app: &str, address: &str, label: &str, ready: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: a\n  labels: {{app: {app}, \
         {label}}}\nspec: {{serviceAccountName: {app}}}\nstatus:\n  phase: Running\n  podIP: {address}\n  \
         conditions: [{{type: Ready, status: \"{ready}\"}}]\n"
    )
}

/// An east-west gateway with these load balancer addresses.
pub(crate) fn gateway(network: &str, addresses: &[&str]) -> String {
    let ingress: Vec<String> = addresses
        .iter()
        .map(|address| {
            let kind = if address.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
            format!("{{{kind}: {address}}}")
        })
        .collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: eastwest\n  namespace: istio-system\n  labels: \
         {{topology.istio.io/network: {network}}}\nspec:\n  type: LoadBalancer\n  clusterIP: 10.0.0.1\n  \
         selector: {{istio: eastwestgateway}}\n  ports:\n  - {{name: tls, port: 15443}}\nstatus:\n  \
         loadBalancer:\n    ingress: [{}]\n",
        ingress.join(", ")
    )
}

/// A Gateway that exposes all hosts below `.local`.
pub(crate) const EXPOSE: &str = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: cross, namespace: \
     istio-system}\nspec:\n  selector: {istio: eastwestgateway}\n  servers:\n  - port: {number: 15443, name: tls, \
     protocol: TLS}\n    tls: {mode: AUTO_PASSTHROUGH}\n    hosts: [\"*.local\"]\n";
