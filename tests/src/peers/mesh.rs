//! A mesh of two clusters in two networks, made of real peers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;

use super::Child;
use crate::vm_files::Vm;

/// A real istiod with the YAML in `tests/peers/testdata/tour` and its own loopback addresses: `127.N.1.x` belong to
/// cluster1 and network1, `127.N.2.x` to cluster2 and network2.
#[derive(Debug)]
pub struct RealMesh {
    dir: TempDir,
    block: String,
    istiod: Option<Child>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// A workload with a certificate of the real CA.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The name in its answers.
    pub name: &'a str,
    /// The cluster that issues its token.
    pub cluster: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The service account in its certificate.
    pub service_account: &'a str,
    /// The address on which it listens.
    pub listen: &'a str,
    /// The mode: `http`, or `tcp` to echo lines.
    pub mode: &'a str,
    /// Additional arguments of `peers workload`, such as `--ttl=3s`.
    pub arguments: &'a [&'a str],
}

/// The Sidecar object that makes a client's sidecar listen on its own address instead of 127.0.0.1.
pub const CLIENT_SIDECAR: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: legacy}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
    - port: {number: 3002, name: http, protocol: HTTP}
      bind: 127.0.1.77
      hosts: [\"*/*\"]
";

/// A builder for a [`RealMesh`] with additional settings.
#[derive(Debug, Default)]
pub struct RealMeshBuilder {
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
}

impl RealMeshBuilder {
    /// Adds an environment variable for istiod.
    #[must_use]
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of `peers istiod`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds a file to the folder of the mesh. `127.0.1.` and `127.0.2.` are replaced by addresses of this mesh.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Starts istiod with the YAML of the tour, without gateways and workloads.
    pub async fn start(self) -> RealMesh {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let block = format!("127.{}", fastrand::u8(2..250));
        let tour = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/testdata/tour");
        copy(&tour, dir.path(), &|text| localise(text, &block));
        // The sidecar of the smoke test would replace the forecast.
        fs::remove_file(dir.path().join("clusters/cluster1/sidecar.yaml")).expect("sidecar.yaml");
        for (path, text) in &self.files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, localise(text, &block)).expect("a file of the mesh");
        }
        let Self { environment, arguments, .. } = self;
        let mut mesh = RealMesh { dir, block, istiod: None, environment, arguments };
        mesh.start_istiod(None).await;
        mesh
    }
}

impl RealMesh {
    /// Starts istiod with the YAML of the tour, without gateways and workloads.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Returns a builder for a mesh with additional settings.
    #[must_use]
    pub fn builder() -> RealMeshBuilder {
        RealMeshBuilder::default()
    }

    /// Replaces a file in the folder of the mesh.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.dir.path().join(path), text).expect("a file of the mesh");
    }

    async fn start_istiod(&mut self, address: Option<SocketAddr>) {
        let mut arguments =
            vec!["istiod".to_owned(), "--dir".to_owned(), self.dir.path().display().to_string()];
        arguments.extend(self.arguments.iter().cloned());
        arguments.extend(address.map(|address| format!("--address={address}")));
        let environment: Vec<_> =
            self.environment.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        self.istiod = Some(Child::start(arguments, &environment).await);
    }

    /// Stops istiod without stopping gateways and workloads, and returns its address.
    pub async fn stop_istiod(&mut self) -> SocketAddr {
        let address = self.address();
        self.istiod.take().expect("istiod runs").end().await;
        address
    }

    /// Starts istiod again, with the same CA and address.
    pub async fn restart_istiod(&mut self, address: SocketAddr) {
        self.start_istiod(Some(address)).await;
    }

    /// Returns the address of istiod.
    pub fn address(&self) -> SocketAddr {
        self.istiod().ready_text("address").parse().expect("istiod's address")
    }

    fn istiod(&self) -> &Child {
        self.istiod.as_ref().expect("istiod runs")
    }

    /// Returns the root certificates as PEM.
    pub fn root_pem(&self) -> String {
        fs::read_to_string(self.istiod().ready_text("root_cert")).expect("the root certificate")
    }

    /// Returns an address of this mesh, from the network (1 or 2) and the last byte.
    pub fn ip(&self, network: u8, last: u8) -> String {
        format!("{}.{network}.{last}", self.block)
    }

    /// Returns `text` with the loopback addresses of the tour replaced by those of this mesh.
    pub fn localise(&self, text: &str) -> String {
        localise(text, &self.block)
    }

    /// Writes the files of a VM into a separate folder.
    pub fn vm_files(&self, vm: &Vm) -> PathBuf {
        let dir = self.dir.path().join(format!("vm-{}-{}", vm.namespace, vm.service_account));
        vm.write(&dir, self.address(), &self.root_pem())
    }

    /// Creates or updates the objects of `yaml`. `127.0.1.` and `127.0.2.` are replaced by addresses of this mesh.
    pub async fn apply(&mut self, cluster: &str, yaml: &str) {
        let command = json!({"op": "apply", "cluster": cluster, "yaml": self.localise(yaml)});
        self.istiod.as_mut().expect("istiod runs").command(command).await;
    }

    /// Deletes the objects that `yaml` names.
    pub async fn delete(&mut self, cluster: &str, yaml: &str) {
        let command = json!({"op": "delete", "cluster": cluster, "yaml": yaml});
        self.istiod.as_mut().expect("istiod runs").command(command).await;
    }

    /// Starts the east-west gateway of a network: Istio's agent and Envoy, with the listener that istiod sends.
    pub async fn gateway(&self, network: u8) -> Child {
        let dir = self.dir.path().join(format!("gateway{network}")).display().to_string();
        let (network_name, address) = (format!("network{network}"), self.ip(network, 2));
        let cluster = format!("cluster{network}");
        let own = ["--dir", &dir, "--network", &network_name, "--address", &address];
        let labels = format!("istio=eastwestgateway,topology.istio.io/network={network_name}");
        let account = "istio-eastwestgateway-service-account";
        self.member(
            "gateway",
            &cluster,
            "istio-system",
            account,
            &[&own[..], &["--labels", &labels]].concat(),
        )
        .await
    }

    /// Starts an mTLS server that behaves like an application with a sidecar.
    pub async fn workload(&self, workload: Workload<'_>) -> Child {
        let Workload { name, cluster, namespace, service_account, listen, mode, arguments } = workload;
        let own = [&["--name", name, "--listen", listen, "--mode", mode], arguments].concat();
        self.member("workload", cluster, namespace, service_account, &own).await
    }

    /// Starts the forecast of a cluster, at the address in its EndpointSlice.
    pub async fn forecast(&self, network: u8) -> Child {
        self.forecast_as(network, "forecast", &[]).await
    }

    /// Starts the forecast of a cluster with the identity of a service account and additional arguments.
    pub async fn forecast_as(&self, network: u8, service_account: &str, arguments: &[&str]) -> Child {
        self.workload(Workload {
            name: &format!("forecast-cluster{network}"),
            cluster: &format!("cluster{network}"),
            namespace: "weather",
            service_account,
            listen: &format!("{}:8080", self.ip(network, 10)),
            mode: "http",
            arguments,
        })
        .await
    }

    /// Starts a real sidecar, Istio's agent and Envoy, for the workload of `account` in namespace `weather` at
    /// `127.0.<network>.<last>:<port>`, as described by a `Sidecar` object.
    pub async fn sidecar(&self, network: u8, account: &str, last: u8, port: u16) -> Child {
        let dir = self.dir.path().join(format!("sidecar{network}-{account}")).display().to_string();
        let (network_name, cluster) = (format!("network{network}"), format!("cluster{network}"));
        let (address, labels, port) = (self.ip(network, last), format!("app={account}"), port.to_string());
        let own = ["--dir", &dir, "--network", &network_name, "--address", &address];
        let who = ["--namespace", "weather", "--service-account", account, "--labels", &labels];
        let own = [&own[..], &who, &["--port", &port]].concat();
        self.member("sidecar", &cluster, "weather", account, &own).await
    }

    /// Starts a real sidecar of a client outside both networks, which listens at [`client_sidecar_address`] for calls
    /// to services on port 3002. [`CLIENT_SIDECAR`] must have been applied before.
    ///
    /// [`client_sidecar_address`]: Self::client_sidecar_address
    pub async fn client_sidecar(&self) -> Child {
        let dir = self.dir.path().join(format!("client-{}", fastrand::u64(..))).display().to_string();
        let (address, listener) = (self.ip(1, 77), self.client_sidecar_address());
        let own = ["--dir", &dir, "--network", "vm-network", "--address", &address];
        let who = ["--namespace", "legacy", "--service-account", "vm", "--labels", "app=client"];
        let own = [&own[..], &who, &["--wait", &listener]].concat();
        self.member("sidecar", "cluster1", "legacy", "vm", &own).await
    }

    /// Returns the address on which the sidecar of a client listens.
    pub fn client_sidecar_address(&self) -> String {
        format!("{}:3002", self.ip(1, 77))
    }

    async fn member(
        &self,
        command: &str,
        cluster: &str,
        namespace: &str,
        account: &str,
        own: &[&str],
    ) -> Child {
        let vm = Vm { namespace: namespace.into(), service_account: account.into(), ..Vm::default() };
        let file = self.dir.path().join(format!("{namespace}-{account}.token"));
        fs::write(&file, vm.token("istio-ca", Duration::from_secs(3600))).expect("a token file");
        let (istiod, root) = (self.address().to_string(), self.istiod().ready_text("root_cert"));
        let token = file.display().to_string();
        let common = [command, "--istiod", &istiod, "--root", &root, "--token", &token, "--cluster", cluster];
        Child::start([&common[..], own].concat(), &[]).await
    }
}

fn localise(text: &str, block: &str) -> String {
    text.replace("127.0.1.", &format!("{block}.1.")).replace("127.0.2.", &format!("{block}.2."))
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    for entry in fs::read_dir(from).expect("the tour's YAML") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&path, &target, change);
        } else {
            let text = fs::read_to_string(&path).expect("YAML");
            fs::write(&target, change(&text)).expect("YAML");
        }
    }
}
