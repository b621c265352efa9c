//! The example `bridge` on the sandbox, with unmodified programs and small clients. Tests whose programs are not
//! installed count as ignored.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

use std::process::{Command as Blocking, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_sandbox::{Sandbox, VmFiles};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

const URL: &str = "http://forecast.weather:3002/today";
const US: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";

/// Tests run this program again inside a namespace, with this variable.
const INSIDE: &str = "SIDESTEP_INSIDE_NAMESPACE";

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        return run(by_dns()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let curl = missing("curl");
    let trials = vec![
        Trial::test("reqwest_calls_a_service", || run(reqwest_calls_a_service())),
        Trial::test("a_raw_stream_carries_lines_there_and_back", || {
            run(a_raw_stream_carries_lines_there_and_back())
        }),
        Trial::test("curl_finds_the_proxy_in_its_environment", || {
            run(curl_finds_the_proxy_in_its_environment())
        })
        .with_ignored_flag(curl),
        Trial::test("curl_connects_through_socks", || run(curl_connects_through_socks()))
            .with_ignored_flag(curl),
        Trial::test("curl_connects_through_a_unix_socket", || run(curl_connects_through_a_unix_socket()))
            .with_ignored_flag(curl),
        Trial::test("a_failed_connection_is_a_response_with_the_reason", || {
            run(a_failed_connection_is_a_response_with_the_reason())
        })
        .with_ignored_flag(curl),
        Trial::test("an_unmodified_program_connects_by_name", || {
            run(an_unmodified_program_connects_by_name())
        })
        .with_ignored_flag(curl || !has_namespaces()),
        Trial::test("in_a_network_namespace_an_unmodified_program_finds_services_by_dns", || {
            run(in_a_network_namespace_an_unmodified_program_finds_services_by_dns())
        })
        .with_ignored_flag(curl || !has_namespaces()),
        Trial::test("psql_finds_its_socket", || run(psql_finds_its_socket()))
            .with_ignored_flag(missing("psql")),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn missing(program: &str) -> bool {
    Blocking::new(program).arg("--version").output().is_err()
}

/// Returns whether this user can create user and mount namespaces.
fn has_namespaces() -> bool {
    let made = Blocking::new("unshare").args(["-rm", "mount", "--bind", "/etc/hosts", "/etc/hosts"]).output();
    made.is_ok_and(|output| output.status.success())
}

fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test);
    Ok(())
}

/// Starts the mesh of the examples and writes the files of a VM.
async fn mesh() -> (Sandbox, VmFiles) {
    let mesh = concat!(env!("CARGO_MANIFEST_DIR"), "/mesh");
    let sandbox = Sandbox::builder().with_mesh_dir(mesh).start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    (sandbox, vm)
}

async fn bridge(vm: &VmFiles, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge"));
    // Proxy settings of the machine must not affect the test.
    command.env("no_proxy", "*").env("NO_PROXY", "*");
    command.arg("--vm-files").arg(vm.path()).args(arguments).output().await.unwrap()
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

async fn reqwest_calls_a_service() {
    let (_sandbox, vm) = mesh().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_reqwest-client"));
    command.env("http_proxy", "http://127.0.0.1:1").env("all_proxy", "http://127.0.0.1:1");
    let output = command.arg(vm.path()).arg(URL).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("200 OK") && text(&output).contains(US), "{}", text(&output));
}

async fn a_raw_stream_carries_lines_there_and_back() {
    let (_sandbox, vm) = mesh().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp-client"));
    command.arg(vm.path()).arg("ledger.payments.example:5432");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo\n").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("one") && lines[1].ends_with("two"), "{stdout}");
    assert!(text(&output).contains("spiffe://cluster.local/ns/payments/sa/ledger"), "{}", text(&output));
}

async fn curl_finds_the_proxy_in_its_environment() {
    let (_sandbox, vm) = mesh().await;
    let output = bridge(&vm, &["--", "curl", "-sS", URL]).await;
    assert!(output.status.success() && text(&output).contains(US), "{}", text(&output));
}

async fn curl_connects_through_socks() {
    let (_sandbox, vm) = mesh().await;
    // The URL of the proxy contains its password, which must not be in a command line.
    let script = format!("unset http_proxy; curl -sS {URL}");
    let output = bridge(&vm, &["--", "sh", "-c", &script]).await;
    assert!(output.status.success() && text(&output).contains(US), "{}", text(&output));
}

async fn curl_connects_through_a_unix_socket() {
    let (_sandbox, vm) = mesh().await;
    let script = "curl -sS --noproxy '*' --unix-socket $SIDESTEP_DIR/forecast.weather:3002 http://any/today";
    let output = bridge(&vm, &["--unix", "forecast.weather:3002", "--", "sh", "-c", script]).await;
    assert!(output.status.success() && text(&output).contains(US), "{}", text(&output));
}

async fn a_failed_connection_is_a_response_with_the_reason() {
    let (_sandbox, vm) = mesh().await;
    let output = bridge(&vm, &["--", "curl", "-sS", "--fail-with-body", "http://forecast.weather:80/"]).await;
    assert_eq!(output.status.code(), Some(22), "{}", text(&output));
    assert!(
        text(&output).contains("has no service port 80: its service ports are 3002"),
        "{}",
        text(&output)
    );
}

/// The program uses neither a proxy nor a socket: the name is in its /etc/hosts, in a mount namespace.
async fn an_unmodified_program_connects_by_name() {
    let (_sandbox, vm) = mesh().await;
    let script = format!("mount --bind $SIDESTEP_DIR/hosts /etc/hosts && curl -sS --noproxy '*' {URL}");
    let program = ["--local", "forecast.weather:3002", "--", "unshare", "-rm", "sh", "-c", &script];
    let output = bridge(&vm, &program).await;
    assert!(output.status.success() && text(&output).contains(US), "{}", text(&output));
}

/// All ports are free in the namespace, including port 53, without root.
async fn in_a_network_namespace_an_unmodified_program_finds_services_by_dns() {
    let script = "ip link set lo up && exec \"$0\"";
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", script]).arg(std::env::current_exe().unwrap()).env(INSIDE, "1");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Runs the mesh, the bridge and the program in the namespace. The program has its own resolv.conf.
async fn by_dns() {
    let (_sandbox, vm) = mesh().await;
    let script =
        format!("mount --bind $SIDESTEP_DIR/resolv.conf /etc/resolv.conf; curl -sS --noproxy '*' {URL}");
    let output = bridge(&vm, &["--dns", "--", "unshare", "-m", "sh", "-ec", &script]).await;
    assert!(output.status.success() && text(&output).contains(US), "{}", text(&output));
}

/// The server is outside the mesh: the test checks that libpq and the bridge use the same socket path.
async fn psql_finds_its_socket() {
    let (_sandbox, vm) = mesh().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        postgres(client).await
    });
    let script = format!(
        "psql -XAt \"host=$SIDESTEP_DIR port={port} user=me dbname=me sslmode=disable\" -c 'select 42'"
    );
    let service = format!("127.0.0.1:{port}");
    let output = bridge(&vm, &["--postgres", &service, "--", "sh", "-c", &script]).await;
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "42\n");
    server.await.unwrap().unwrap();
}

/// A minimal PostgreSQL server that answers one simple query (PostgreSQL, "Frontend/Backend Protocol").
async fn postgres(mut client: TcpStream) -> std::io::Result<()> {
    let length = client.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await?;
    client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?;
    let _kind = client.read_u8().await?;
    let length = client.read_u32().await?;
    client.read_exact(&mut vec![0; length as usize - 4]).await?;
    let column = b"n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let mut answer = Vec::from(*b"T\0\0\0");
    answer.push(u8::try_from(6 + column.len()).unwrap());
    answer.extend(b"\0\x01");
    answer.extend(column);
    answer.extend(b"D\0\0\0\x0c\0\x01\0\0\0\x0242C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I");
    client.write_all(&answer).await?;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await?;
    Ok(())
}
