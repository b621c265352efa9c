//! One small program per client library, on the sandbox and through a real gateway. If the peers are not built, the
//! latter tests count as ignored, or fail if `SIDESTEP_PEERS=required`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed setup fails the test"
)]

use std::{
    path::Path,
    process::{ExitCode, Stdio},
};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_sandbox::Sandbox;
use mesh_tests::{
    peers::{self, RealMesh, Workload},
    vm_files::Vm,
};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// A program, its arguments after the VM files, its input, and a part of its output.
type Client = (&'static str, &'static str, &'static [&'static str], &'static str, &'static str);

const CLIENTS: &[Client] = &[
    (
        "hyper_over_http_1",
        HTTP,
        &["http://forecast.weather:3002/today"],
        "",
        "HTTP/1.1 200 OK from spiffe://",
    ),
    (
        "hyper_over_http_2",
        HTTP,
        &["http://forecast.weather:3002/", "--http2"],
        "",
        "HTTP/2.0 200 OK from spiffe://",
    ),
    (
        "tonic",
        env!("CARGO_BIN_EXE_grpc-client"),
        &["forecast.weather:3002"],
        "",
        "forecast.weather:3002 is serving",
    ),
    ("a_raw_stream", env!("CARGO_BIN_EXE_tcp-client"), &[LEDGER], "hello\n", ": hello"),
    ("tower", env!("CARGO_BIN_EXE_tower-client"), &[LEDGER], "hello\n", ": hello"),
    ("reqwest_by_the_bridge", REQWEST, &["http://forecast.weather:3002/"], "", "200 OK"),
    ("reqwest_by_its_resolver", REQWEST, &["http://forecast.weather:3002/", "--by-name"], "", "200 OK"),
];

const HTTP: &str = env!("CARGO_BIN_EXE_http-client");
const REQWEST: &str = env!("CARGO_BIN_EXE_reqwest-client");
const LEDGER: &str = "ledger.payments.example:5432";

fn main() -> ExitCode {
    let missing = peers::find().err();
    if let Some(reason) = &missing {
        eprintln!("clients through a real gateway: no peers: {reason}");
    }
    let ignored = missing.is_some() && !peers::required();
    let mut trials: Vec<_> = CLIENTS
        .iter()
        .map(|client| Trial::test(format!("{}_reaches_a_service", client.0), || run(on_sandbox(client))))
        .collect();
    let real = Trial::test("every_client_reaches_a_service_through_a_real_gateway", || run(on_real_mesh()));
    trials.push(real.with_ignored_flag(ignored));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test);
    Ok(())
}

async fn on_sandbox(client: &Client) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    check(client, vm.path(), "spiffe://cluster.local/ns/vms/sa/edge-app").await;
}

/// The ServiceEntry of the ledger in the real mesh, behind the gateway of network2. The gateway exposes only `*.local`,
/// so its host differs from the one in the sandbox.
const LEDGER_YAML: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ledger, namespace: payments}
spec:
  hosts: [ledger.payments.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp-ledger, protocol: TCP}]
  endpoints: [{address: 127.0.2.30, network: network2, serviceAccount: ledger}]
";

async fn on_real_mesh() {
    let mut real = RealMesh::start().await;
    real.apply("cluster1", LEDGER_YAML).await;
    let ledger = Workload {
        name: "ledger",
        cluster: "cluster2",
        namespace: "payments",
        service_account: "ledger",
        listen: &format!("{}:5432", real.ip(2, 30)),
        mode: "tcp",
        arguments: &[],
    };
    let _peers = tokio::join!(real.gateway(2), real.forecast(2), real.workload(ledger));
    let files = real.vm_files(&Vm::default());
    for client in CLIENTS {
        check(client, &files, "spiffe://cluster.local/ns/legacy/sa/vm").await;
    }
}

/// Checks the output of a program. The output of HTTP clients contains the caller that the service saw.
async fn check(client: &Client, vm_files: &Path, us: &str) {
    let (name, program, arguments, input, expected) = client;
    let real = us.ends_with("/vm");
    let arguments =
        arguments.iter().map(|one| if real { one.replace(".example", ".local") } else { (*one).to_owned() });
    let mut command = Command::new(program);
    command
        .arg(vm_files)
        .args(arguments)
        .env("http_proxy", "http://127.0.0.1:1")
        .env("all_proxy", "http://127.0.0.1:1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains(expected), "{name}: {out}{errors}");
    let http = *program == HTTP || *program == REQWEST;
    assert!(!http || out.contains(us), "{name}: {out}");
}
