//! The examples of resolvers, on the sandbox.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

use std::{fs, path::Path, process::Stdio};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use mesh_sandbox::{Sandbox, VmFiles};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::Command,
    task::JoinSet,
};
use tonic::{service::Routes, transport::Server};

/// A mesh host that the programs can connect to: its address is on this host.
const REACHABLE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reachable, namespace: default}
spec:
  hosts: [reachable.example]
  addresses: [127.0.0.1]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1}]
";

/// The mesh of the tour with a reachable host, and a VM in it.
struct Stage {
    vm: VmFiles,
    sandbox: Sandbox,
    _mesh: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Self {
        let mesh = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("mesh"), mesh.path());
        fs::write(mesh.path().join("cluster1/95-reachable.yaml"), REACHABLE).unwrap();
        let sandbox = Sandbox::builder().with_mesh_dir(mesh.path()).without_reload().start().await.unwrap();
        Self { vm: sandbox.vm_files("vms/edge-app").unwrap(), sandbox, _mesh: mesh }
    }

    fn command(&self, program: &str, argument: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(self.vm.path()).arg(argument).kill_on_drop(true).stdout(Stdio::piped());
        command
    }

    async fn output(&self, program: &str, argument: &str) -> String {
        let output = self.command(program, argument).stderr(Stdio::piped()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_resolver_resolves_a_mesh_name() {
    let stage = Stage::start().await;
    let plain = stage.output(env!("CARGO_BIN_EXE_resolve-plain"), "forecast.weather").await;
    assert_eq!(plain, "10.1.0.20\nname table: 10.1.0.20\n");
    for program in [
        env!("CARGO_BIN_EXE_resolve-hickory"),
        env!("CARGO_BIN_EXE_resolve-tokio-resolver"),
        env!("CARGO_BIN_EXE_resolve-tower"),
    ] {
        assert_eq!(stage.output(program, "forecast.weather").await, "10.1.0.20\n", "{program}");
    }
    stage.sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_http_client_reaches_a_mesh_name() {
    let stage = Stage::start().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://reachable.example:{}/", server.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    for program in [env!("CARGO_BIN_EXE_resolve-reqwest"), env!("CARGO_BIN_EXE_resolve-hyper")] {
        assert_eq!(stage.output(program, &url).await, "200 OK\n", "{program}");
    }
    stage.sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_channel_reaches_a_mesh_name() {
    let stage = Stage::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::builder().add_routes(Routes::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve(([127, 0, 0, 1], port).into()));
    let uri = format!("http://reachable.example:{port}");
    let output = stage.output(env!("CARGO_BIN_EXE_resolve-tonic"), &uri).await;
    assert_eq!(output, "grpc-status 12\n", "the server without methods must have answered");
    stage.sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hickory_server_answers_mesh_names() {
    let stage = Stage::start().await;
    let mut command = stage.command(env!("CARGO_BIN_EXE_resolve-hickory-server"), "127.0.0.1:0");
    let mut server = command.spawn().unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = output.next_line().await.unwrap().unwrap();
    let address: std::net::SocketAddr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    let mut config = NameServerConfig::udp_and_tcp(address.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = address.port());
    let config = ResolverConfig::from_name_servers(vec![config]);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let found = resolver.build().unwrap().lookup_ip("forecast.weather.").await.unwrap();
    assert_eq!(found.iter().next(), "10.1.0.20".parse().ok());
    stage.sandbox.shutdown().await;
}
