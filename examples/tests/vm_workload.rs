//! The example `vm-workload`: the tour, and its commands on the sandbox and, if the peers are built, on a real mesh.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_sandbox::Sandbox;
use mesh_tests::{
    peers::{self, RealMesh},
    vm_files::Vm,
};

fn main() -> ExitCode {
    let no_peers = peers::find().is_err() && !peers::required();
    let trials = vec![
        Trial::test("the_tour_succeeds_and_writes_no_colours_to_a_pipe", || {
            the_tour_succeeds_and_writes_no_colours_to_a_pipe();
            Ok(())
        }),
        Trial::test("the_error_names_a_missing_argument_or_file", || {
            the_error_names_a_missing_argument_or_file();
            Ok(())
        }),
        Trial::test("on_the_sandbox_the_answer_is_printed_to_standard_output", || {
            block_on(on_the_sandbox_the_answer_is_printed_to_standard_output())
        }),
        Trial::test("a_connection_is_explained_as_text_and_as_json", || {
            block_on(a_connection_is_explained_as_text_and_as_json())
        }),
        Trial::test("on_a_real_mesh_the_answer_is_printed_to_standard_output", || {
            block_on(on_a_real_mesh_the_answer_is_printed_to_standard_output())
        })
        .with_ignored_flag(no_peers),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test);
    Ok(())
}

fn vm_workload(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vm-workload")).args(arguments).output().unwrap()
}

async fn run(arguments: &[&str]) -> (bool, String, String) {
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let output = tokio::task::spawn_blocking(move || {
        vm_workload(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let output = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn the_tour_succeeds_and_writes_no_colours_to_a_pipe() {
    let output = vm_workload(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("All 7 steps succeeded"), "{text}");
}

fn the_error_names_a_missing_argument_or_file() {
    let output = vm_workload(&["get", "http://forecast.weather:3002/"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("--vm-files"));
    let output = vm_workload(&["--vm-files", "/does/not/exist", "resolve", "a"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("/does/not/exist: ") && error.contains("istioctl"), "{error}");
}

async fn on_the_sandbox_the_answer_is_printed_to_standard_output() {
    let mesh = concat!(env!("CARGO_MANIFEST_DIR"), "/mesh");
    let sandbox = Sandbox::builder().with_mesh_dir(mesh).start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let files = vm.path().to_str().unwrap();
    let (ok, body, decision) = run(&["--vm-files", files, "get", "http://forecast.weather:3002/x"]).await;
    assert!(ok, "{decision}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["path"], "/x");
    assert!(decision.contains("SNI outbound_.3002_._.forecast.weather.svc.cluster.local"), "{decision}");
    let (ok, _, error) = run(&["--vm-files", files, "get", "http://forecast.weather:3003/"]).await;
    assert!(!ok && error.contains("3002"), "{error}");
    sandbox.shutdown().await;
}

async fn a_connection_is_explained_as_text_and_as_json() {
    let mesh = concat!(env!("CARGO_MANIFEST_DIR"), "/mesh");
    let sandbox = Sandbox::builder().with_mesh_dir(mesh).start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let files = vm.path().to_str().unwrap();
    let (ok, text, error) = run(&["--vm-files", files, "explain", "forecast.weather:3002"]).await;
    assert!(ok, "{error}");
    assert!(text.contains("SNI outbound_.3002_._.forecast.weather.svc.cluster.local"), "{text}");
    assert!(text.contains("presented spiffe://cluster.local/ns/weather/sa/forecast, as expected"), "{text}");
    let (ok, json, error) =
        run(&["--vm-files", files, "explain", "--json", "--no-handshake", "forecast.weather:80"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["failure"]["kind"], "unknown_port");
    assert!(!ok && error.contains("3002"), "{error}");
    sandbox.shutdown().await;
}

async fn on_a_real_mesh_the_answer_is_printed_to_standard_output() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast(2));
    let files = real.vm_files(&Vm::default());
    let files = files.to_str().unwrap();
    let url = "http://forecast.weather.svc.cluster.local:3002/";
    let (ok, body, decision) = run(&["--vm-files", files, "get", url]).await;
    assert!(ok, "{decision}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["client"], "spiffe://cluster.local/ns/legacy/sa/vm");
    assert!(decision.contains("peer spiffe://cluster.local/ns/weather/sa/forecast"), "{decision}");
    let names = ["forecast.weather", "mymongodb.somedomain"];
    let (ok, out, error) = run(&["--vm-files", files, "resolve", names[0], names[1]]).await;
    assert!(ok, "{error}");
    assert!(out.starts_with("forecast.weather\t10.1.0.10\t"), "{out}");
    assert!(out.contains("mymongodb.somedomain\t240.240."), "{out}");
}
