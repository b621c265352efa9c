//! The same mesh in a real istiod and in the sandbox.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use mesh_sandbox::{Sandbox, SandboxBuilder, TokenOptions, address_book::AddressBook};
use mesh_tests::{
    ads::{Credentials, NodeBuilder, Server},
    peers::Child,
    vm_files::Vm,
};
use serde_json::json;
use tempfile::TempDir;

/// The clusters of a case. The first one is the config cluster.
pub(crate) const CLUSTERS: [&str; 2] = ["cluster1", "cluster2"];
/// Files of a case that belong to no cluster.
const OF_THE_MESH: [&str; 3] = ["mesh.yaml", "meshNetworks.yaml", UPSTREAM];
/// The names that DNS outside the mesh answers, in the sandbox and for istiod.
pub(crate) const UPSTREAM: &str = "upstream.hosts";

/// A real istiod that reads the YAML of a case.
pub(crate) struct Real {
    _dir: TempDir,
    istiod: Child,
    clusters: Vec<&'static str>,
    pub(crate) server: Server,
}

impl Real {
    pub(crate) async fn start(case: &Path, arguments: &[&str]) -> Self {
        Self::start_with(case, arguments, &[], None).await
    }

    /// Starts istiod with additional environment variables and a DNS server. The port of its address is ignored: istiod
    /// uses 53.
    pub(crate) async fn start_with(
        case: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        dns: Option<IpAddr>,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        lay_out(case, dir.path(), "clusters");
        let path = dir.path().display().to_string();
        let all = [&["istiod", "--dir", &path, "--log", "error"][..], arguments].concat();
        // All streams are opened at the same time, and istiod's rate limit for new streams would only slow the test
        // down.
        let environment = [&[("PILOT_MAX_REQUESTS_PER_SECOND", "1000")], environment].concat();
        let istiod = match dns {
            None => Child::start(all, &environment).await,
            Some(dns) => {
                let resolv_conf = dir.path().join("resolv.conf");
                fs::write(&resolv_conf, format!("nameserver {dns}\n")).expect("a resolv.conf");
                Child::start_with_resolv_conf(&resolv_conf, all, &environment).await
            }
        };
        let root = fs::read_to_string(istiod.ready_text("root_cert")).expect("the root certificate");
        let address = istiod.ready_text("address").parse().expect("istiod's address");
        Self { _dir: dir, istiod, clusters: clusters(case), server: Server { address, root_pem: root } }
    }

    pub(crate) fn credentials(&self, node: &NodeBuilder) -> Credentials {
        let vm = Vm {
            namespace: node.namespace().to_owned(),
            service_account: node.service_account().to_owned(),
            ..Vm::default()
        };
        Credentials::token(vm.token("istio-ca", Duration::from_secs(3600)), cluster_of(node, &self.clusters))
    }

    pub(crate) async fn command(&mut self, op: &str, cluster: &str, yaml: &str) {
        self.attempt(op, cluster, yaml).await.unwrap_or_else(|error| panic!("{op} {yaml}: {error}"));
    }

    pub(crate) async fn attempt(&mut self, op: &str, cluster: &str, yaml: &str) -> Result<(), String> {
        self.istiod.attempt(json!({ "op": op, "cluster": cluster, "yaml": yaml })).await.map(drop)
    }
}

/// The sandbox with the YAML of a case.
pub(crate) struct Imitation {
    _dir: TempDir,
    pub(crate) sandbox: Sandbox,
    clusters: Vec<&'static str>,
    pub(crate) server: Server,
}

impl Imitation {
    pub(crate) async fn start(
        case: &Path,
        settings: impl FnOnce(SandboxBuilder) -> SandboxBuilder,
    ) -> Result<Self, mesh_sandbox::Error> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        lay_out(case, dir.path(), "");
        // The Envoy of the real mesh has no Istio extensions, so its istiod runs without metadata exchange.
        let builder =
            Sandbox::builder().with_mesh_dir(dir.path()).without_reload().without_metadata_exchange();
        let sandbox = settings(builder).start().await?;
        let server = Server { address: sandbox.istiod_address(), root_pem: sandbox.root_certificate_pem() };
        Ok(Self { _dir: dir, sandbox, clusters: clusters(case), server })
    }

    pub(crate) fn credentials(&self, node: &NodeBuilder) -> Credentials {
        let cluster = cluster_of(node, &self.clusters);
        let options = TokenOptions::default().with_cluster(cluster);
        let token = self.sandbox.token(node.namespace(), node.service_account(), &options);
        Credentials::token(token, cluster)
    }

    pub(crate) fn book(&self) -> AddressBook {
        self.sandbox.address_book()
    }
}

/// Returns the cluster whose API server issues the token of the node: its own cluster if the case has it.
fn cluster_of<'a>(node: &'a NodeBuilder, clusters: &[&'a str]) -> &'a str {
    if clusters.contains(&node.cluster_id()) { node.cluster_id() } else { CLUSTERS[0] }
}

fn clusters(case: &Path) -> Vec<&'static str> {
    CLUSTERS.into_iter().filter(|cluster| case.join(cluster).is_dir()).collect()
}

/// Copies a case: the files of `base`, then its own. `below` is the folder for the cluster folders.
fn lay_out(case: &Path, to: &Path, below: &str) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/base");
    for cluster in clusters(case) {
        let target = to.join(below).join(cluster);
        fs::create_dir_all(&target).expect("a folder");
        for source in [base.join(cluster), case.join(cluster)] {
            for entry in fs::read_dir(source).expect("YAML of a cluster") {
                let file = entry.expect("an entry").path();
                fs::copy(&file, target.join(file.file_name().expect("a name"))).expect("YAML");
            }
        }
    }
    for file in OF_THE_MESH.into_iter().filter(|file| case.join(file).is_file()) {
        fs::copy(case.join(file), to.join(file)).expect("a file of the mesh");
    }
}
