//! The examples of the C library, each in its own process. They connect through a real gateway to a real sidecar, with
//! an application that reports its caller as the sidecar identified it, or with a real PostgreSQL server.

use mesh_tests::{
    apps::{self, App},
    clients::{self, Client},
    postgres::{self, Postgres},
    vm_files::Vm,
};

use crate::sidecar::{Guarded, guarded};

const US: &str = "spiffe://cluster.local/ns/legacy/sa/vm";
const GUARDED: &str = "spiffe://cluster.local/ns/weather/sa/guarded";

/// Returns the requirement of these tests that this machine lacks, if any.
pub(crate) fn missing() -> Option<String> {
    let all = clients::HTTP.iter().chain(clients::POSTGRES);
    all.filter_map(Client::missing).next().or_else(|| postgres::find().err())
}

/// A service behind a sidecar in the other network.
struct Stage {
    guarded: Guarded,
    _app: App,
}

impl Stage {
    async fn new(protocol: &str, app: App) -> Self {
        Self { guarded: guarded(protocol, "STRICT", app.address).await, _app: app }
    }

    /// Runs an example with these arguments and returns its output.
    async fn run(&self, client: &Client, arguments: &[&str]) -> String {
        let folder = self.guarded.real.vm_files(&Vm::default());
        // Whether to show the output of the examples.
        let show = std::env::args().any(|argument| argument == "--nocapture");
        client.run(&[&[folder.to_str().unwrap(), "guarded.weather", "4000"], arguments].concat(), show).await
    }
}

/// Runs every example with one of these names, and checks the identity that the sidecar reports.
async fn ask_http(names: &[&str]) {
    let stage = Stage::new("http", apps::caller().await).await;
    let is_named = |client: &&Client| names.iter().any(|name| client.name.starts_with(name));
    let gateway = stage.guarded.real.ip(2, 2);
    for client in clients::HTTP.iter().filter(is_named) {
        let output = stage.run(client, &["/today"]).await;
        assert_eq!(output.matches(&format!("URI={US}")).count(), client.answers, "{}: {output}", client.name);
        // These examples also print the identity of their peer.
        if ["blocking_sockets_in_c", "cpp", "python"].contains(&client.name) {
            assert!(output.contains(GUARDED) && output.contains(&format!("{gateway}:15443")), "{output}");
        }
    }
}

pub(crate) async fn c_and_cpp_reach_a_sidecar_through_the_gateway() {
    ask_http(&["blocking_sockets_in_c", "an_event_loop_in_c", "cpp"]).await;
}

pub(crate) async fn libcurl_reaches_a_sidecar_through_the_gateway_in_each_way() {
    ask_http(&["libcurl"]).await;
}

pub(crate) async fn python_go_and_java_reach_a_sidecar_through_the_gateway() {
    ask_http(&["python", "go", "java"]).await;
}

pub(crate) async fn libpq_reaches_a_database_behind_a_sidecar_through_the_gateway() {
    let server = Postgres::start().await;
    let stage = Stage::new("tcp", postgres::behind_tcp(&server.socket()).await).await;
    let own = server.socket().parent().unwrap().display().to_string();
    for client in clients::POSTGRES {
        let query = "show unix_socket_directories";
        let output = stage.run(client, &["user=me dbname=postgres", query]).await;
        assert_eq!(output.matches(&own).count(), client.answers, "{output}");
    }
}
