//! Tests of a VM in a whole mesh: two clusters, two networks and two gateways, all in this process (`mesh-sandbox`).

#![expect(clippy::unwrap_used, reason = "a test harness")]

#[cfg(feature = "bridge")]
mod bridge;
mod connect;
mod explain;
mod failures;
#[cfg(feature = "tonic")]
mod grpc;
#[cfg(feature = "hyper")]
mod http;
#[cfg(feature = "metrics")]
mod metrics;
mod plaintext;
#[cfg(feature = "tonic")]
mod policies;
mod services;
mod static_gateways;

use std::{io, time::Duration};

use mesh_connector::{Config, Mesh, MeshBuilder, MeshStream, Upstream};
use mesh_sandbox::{Event, Sandbox, SandboxBuilder, VmFiles};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";
const US: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";

/// The mesh of a test.
struct World {
    sandbox: Sandbox,
    vm: VmFiles,
}

impl World {
    async fn start() -> Self {
        Self::start_with(Sandbox::builder()).await
    }

    async fn start_with(sandbox: SandboxBuilder) -> Self {
        let sandbox = sandbox.without_reload().start().await.unwrap();
        let vm = sandbox.vm_files("vms/edge-app").unwrap();
        Self { sandbox, vm }
    }

    /// Returns a builder that uses the DNS server of the sandbox as upstream.
    fn builder(&self) -> MeshBuilder {
        let config = Config::from_vm_files(self.vm.path()).unwrap();
        Mesh::builder(config).with_upstream(Upstream::servers([self.sandbox.upstream_dns()]))
    }

    async fn join(&self) -> Mesh {
        self.builder().join().await.unwrap()
    }

    /// Returns the number of connections that the gateways have accepted.
    fn through_gateways(&self) -> usize {
        self.sandbox.events().all().iter().filter(|event| matches!(event, Event::Gateway(_))).count()
    }

    /// Applies YAML and waits until the client has received the clusters of `host`.
    async fn apply(&self, mesh: &Mesh, cluster: &str, yaml: &str, host: &str) {
        self.sandbox.apply(cluster, yaml).unwrap();
        let mut clusters = mesh.client().clusters().clone();
        let known = clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.has_host(host)));
        tokio::time::timeout(Duration::from_secs(10), known).await.unwrap().unwrap();
    }
}

/// Sends a line and returns the answer of a workload that echoes lines after its own name.
async fn exchange(stream: &mut MeshStream, line: &str) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    Ok(answer)
}
