//! The unmodified programs curl and psql in the mesh: through the proxy, through a Unix socket, and by name in a
//! network namespace. The database is a real PostgreSQL server behind a real sidecar behind a real gateway.

use std::{env, path::PathBuf, process::Command as Blocking};

use mesh_connector::{
    Mesh, Target,
    bridge::{Access, Bridge},
};
use mesh_resolver::{MeshResolver, listener::DnsListener};
use mesh_tests::{
    apps::App,
    peers::Child,
    postgres::{self, Postgres},
};
use tokio::process::Command;

use crate::sidecar::{Guarded, guarded};

/// In a namespace, a test runs this program with this variable, whose value is the socket of the database.
const INSIDE: &str = "SIDESTEP_INSIDE_NAMESPACE";
const URL: &str = "http://forecast.weather:3002/unmodified";
const DATABASE: (&str, u16) = ("guarded.weather", 4000);

/// Returns the requirement of these tests that this machine lacks, if any.
pub(crate) fn missing() -> Option<String> {
    let has = |program: &&str| Blocking::new(program).arg("--version").output().is_err();
    let programs = ["curl", "psql", "unshare"].iter().find(|program| has(program));
    programs.map(|program| format!("no `{program}`")).or_else(|| postgres::find().err()).or_else(|| {
        let made = Blocking::new("unshare").args(["-rn", "unshare", "-m", "true"]).output();
        (!made.is_ok_and(|output| output.status.success()))
            .then(|| "this user cannot create namespaces".to_owned())
    })
}

/// Returns the socket of the database if this process is the part of a test that runs inside a namespace.
pub(crate) fn inside() -> Option<PathBuf> {
    env::var_os(INSIDE).map(PathBuf::from)
}

/// The forecast service, and a database behind a sidecar.
struct Stage {
    guarded: Guarded,
    _app: App,
    _forecast: Child,
}

async fn stage(socket: &std::path::Path) -> Stage {
    let app = postgres::behind_tcp(socket).await;
    let guarded = guarded("tcp", "STRICT", app.address).await;
    let forecast = guarded.real.forecast(2).await;
    Stage { guarded, _app: app, _forecast: forecast }
}

async fn bridge(mesh: &Mesh) -> Bridge {
    mesh.bridge().with_access(Access::SameUser).start().await.unwrap()
}

/// Runs a script, which must succeed, and returns its output.
async fn sh(script: &str, environment: &[(&str, String)]) -> String {
    let mut command = Command::new("sh");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"]
    {
        command.env_remove(name);
    }
    command.args(["-ec", script]).envs(environment.iter().cloned()).env("PGCONNECT_TIMEOUT", "10");
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}: {out}{errors}");
    out
}

fn query(connection: &str) -> String {
    format!("psql -XAt '{connection} user=me dbname=postgres' -c 'select 6 * 7'")
}

pub(crate) async fn curl_and_psql_connect_through_the_proxy_and_unix_sockets() {
    let server = Postgres::start().await;
    let stage = stage(&server.socket()).await;
    let mesh = &stage.guarded.mesh;
    let bridge = bridge(mesh).await;
    let us = "spiffe://cluster.local/ns/legacy/sa/vm";
    let by_http = sh(&format!("curl -sS {URL}"), &[("http_proxy", bridge.http_url())]).await;
    assert!(by_http.contains(us) && by_http.contains("/unmodified"), "{by_http}");
    let by_socks = sh(&format!("curl -sS {URL}"), &[("all_proxy", bridge.socks_url())]).await;
    assert!(by_socks.contains(us), "{by_socks}");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("forecast");
    bridge.listen_unix(&socket, &"forecast.weather:3002".parse().unwrap()).await.unwrap();
    let by_socket = sh(&format!("curl -sS --unix-socket {} {URL}", socket.display()), &[]).await;
    assert!(by_socket.contains(us), "{by_socket}");
    let target = Target::new(DATABASE.0, DATABASE.1).unwrap();
    bridge.listen_postgres(dir.path(), &target).await.unwrap();
    let answer = sh(&query(&format!("host={} port={}", dir.path().display(), DATABASE.1)), &[]).await;
    assert_eq!(answer, "42\n");
    let explained = mesh.explain(DATABASE.0, DATABASE.1).await.unwrap().to_string();
    assert!(explained.contains("mutual tls"), "{explained}");
}

pub(crate) async fn in_a_network_namespace_curl_and_psql_connect_by_mesh_names() {
    let server = Postgres::start().await;
    let mut command = Command::new("unshare");
    // A user and network namespace, in which port 53 and all loopback addresses are free.
    command.args(["-rn", "sh", "-ec", "ip link set lo up && exec \"$0\""]).arg(env::current_exe().unwrap());
    let output = command.env(INSIDE, server.socket()).kill_on_drop(true).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The part of the test inside the namespace: a complete real mesh, a DNS server on port 53, and the two programs.
pub(crate) async fn unmodified_programs(socket: PathBuf) {
    let stage = stage(&socket).await;
    let mesh = &stage.guarded.mesh;
    let bridge = bridge(mesh).await;
    let services = bridge.local_services().await.unwrap();
    let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build().unwrap();
    let _dns = DnsListener::builder(resolver).bind("127.0.0.1:53").start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let resolv = dir.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
    let (host, port) = DATABASE;
    let programs = format!("curl -sS {URL}; {}", query(&format!("host={host} port={port}")));
    let script = format!(
        "exec unshare -m sh -ec 'mount --bind {} /etc/resolv.conf; {}'",
        resolv.display(),
        programs.replace('\'', "\"")
    );
    let answer = sh(&script, &[]).await;
    assert!(answer.contains("spiffe://cluster.local/ns/legacy/sa/vm"), "{answer}");
    assert!(answer.ends_with("42\n"), "{answer}");
    let through = mesh.health().endpoints();
    assert!(through.iter().any(|one| one.cluster.contains("guarded")), "{through:?}");
}
