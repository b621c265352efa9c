//! Builds the examples and runs them on the sandbox. An example is ignored if the machine lacks a program or library
//! that it needs. With `SIDESTEP_PEERS=required` it fails instead.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "a test that cannot continue fails")]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_sandbox::{Sandbox, VmFiles};
use mesh_tests::{
    clients::{self, Client},
    peers,
    postgres::{self, Postgres},
};

/// The identity of the examples.
const IDENTITY: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let show = arguments.nocapture;
    let http = clients::HTTP
        .iter()
        .chain(clients::PROMISES)
        .map(|client| trial(client, None, async move || send_http(client, show).await));
    let postgres = clients::POSTGRES.iter().map(|client| {
        trial(client, postgres::find().err(), async move || query_postgres(client, show).await)
    });
    libtest_mimic::run(&arguments, http.chain(postgres).collect()).exit_code()
}

fn trial<F: Future<Output = ()>>(
    client: &Client,
    no_server: Option<String>,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let missing = client.missing().or(no_server);
    if let Some(reason) = &missing {
        eprintln!("{}: {reason}", client.name);
    }
    let ignored = missing.is_some() && !peers::required();
    Trial::test(client.name, move || run(test())).with_ignored_flag(ignored)
}

fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test);
    Ok(())
}

async fn mesh() -> (Sandbox, VmFiles) {
    let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    (sandbox, vm)
}

async fn send_http(client: &Client, show: bool) {
    let (sandbox, vm) = mesh().await;
    let folder = vm.path().to_str().unwrap();
    let output = client.run(&[folder, "forecast.weather", "3002", "/today"], show).await;
    assert_eq!(output.matches(IDENTITY).count(), client.answers, "{output}");
    assert_eq!(output.matches("\"/today\"").count(), client.answers, "{output}");
    sandbox.shutdown().await;
}

/// Runs a client with a real PostgreSQL server behind the TCP service of the mesh.
async fn query_postgres(client: &Client, show: bool) {
    let server = Postgres::start().await;
    let application = postgres::behind_tcp(&server.socket()).await;
    let (sandbox, vm) = mesh().await;
    let (folder, host) = (vm.path().to_str().unwrap(), "ledger.payments.example");
    sandbox.serve(host, 5432, application.address).unwrap();
    let options = "user=me dbname=postgres";
    let output = client.run(&[folder, host, "5432", options, "show unix_socket_directories"], show).await;
    let own = server.socket().parent().unwrap().display().to_string();
    assert_eq!(output.matches(&own).count(), client.answers, "{output}");
    sandbox.shutdown().await;
}
