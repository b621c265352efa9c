//! The example `dns-proxy` on the sandbox, with DNS clients.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

use std::{net::SocketAddr, process::Stdio};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use mesh_sandbox::Sandbox;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

struct Proxy {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Proxy {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dns-proxy"));
        let command = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output }
    }

    async fn line(&mut self) -> String {
        match self.output.next_line().await.unwrap() {
            Some(line) => line,
            None => panic!("{}", self.error().await),
        }
    }

    async fn error(&mut self) -> String {
        let mut error = String::new();
        let mut output = self.child.stderr.take().unwrap();
        tokio::io::AsyncReadExt::read_to_string(&mut output, &mut error).await.unwrap();
        error
    }
}

fn resolver(server: SocketAddr) -> TokioResolver {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let config = ResolverConfig::from_name_servers(vec![config]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mesh_names_are_answered_from_istiod_and_others_from_upstream() {
    let mesh = concat!(env!("CARGO_MANIFEST_DIR"), "/mesh");
    let sandbox = Sandbox::builder().with_mesh_dir(mesh).start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let upstream = sandbox.upstream_dns().to_string();
    let files = vm.path().to_str().unwrap();
    let arguments = ["--vm-files", files, "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let mut proxy = Proxy::start(&arguments);
    let line = proxy.line().await;
    let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    let joined = proxy.line().await;
    assert!(joined.starts_with("joined as spiffe://cluster.local/ns/vms/sa/edge-app, "), "{joined}");
    let resolver = resolver(address);
    for name in ["forecast.weather.", "forecast.weather.svc.cluster.local."] {
        let found: Vec<_> = resolver.lookup_ip(name).await.unwrap().iter().collect();
        assert_eq!(found, ["10.1.0.20".parse::<std::net::IpAddr>().unwrap()]);
    }
    assert_eq!(sandbox.upstream_queries("forecast.weather"), 0);
    let found: Vec<_> = resolver.lookup_ip("intranet.example.com.").await.unwrap().iter().collect();
    assert_eq!(found, ["192.0.2.10".parse::<std::net::IpAddr>().unwrap()]);
    assert!(resolver.lookup_ip("www.example.org.").await.unwrap_err().is_nx_domain());
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_error_is_printed_and_ends_the_program() {
    let mut proxy = Proxy::start(&["--vm-files", "/does/not/exist"]);
    assert!(!proxy.child.wait().await.unwrap().success());
    let error = proxy.error().await;
    assert!(error.contains("/does/not/exist: "), "{error}");
}
