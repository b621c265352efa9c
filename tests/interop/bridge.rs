//! The bridge and explanations, through a real gateway.

use mesh_connector::{ErrorKind, Target, Transport, bridge::LocalPort, explain::Probe};
use mesh_tests::peers::RealMesh;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::common::{LEDGER, destination_rule, join, ledger, service_entry};

const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";
const US: &str = "spiffe://cluster.local/ns/legacy/sa/vm";

/// Sends the text, closes the write direction, and reads until the peer closes the connection.
async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends the request without closing the write direction: Go's HTTP server treats a closed direction as a client that
/// has gone.
async fn ask(mut stream: TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(crate) async fn http_clients_reach_the_workload_through_the_proxy_and_a_loopback_address() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast(2));
    let mesh = join(&real).await;
    let bridge = mesh.bridge().start().await.unwrap();
    let proxy = bridge.proxy_address();
    let rest = "HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n";
    let absolute = format!("GET http://forecast.weather:3002/absolute {rest}");
    let answer = ask(TcpStream::connect(proxy).await.unwrap(), &absolute).await;
    assert!(answer.contains("/absolute") && answer.contains(US), "{answer}");

    let tunnel = format!("CONNECT forecast.weather:3002 HTTP/1.1\r\nHost: x\r\n\r\nGET /tunnel {rest}");
    let answer = ask(TcpStream::connect(proxy).await.unwrap(), &tunnel).await;
    assert!(answer.contains("/tunnel") && answer.contains(US), "{answer}");

    let target = Target::new("forecast.weather", 3002).unwrap();
    let local = bridge.listen_local(&target, LocalPort::Real).await.unwrap();
    assert_eq!(local.port(), 3002);
    let answer = ask(TcpStream::connect(local).await.unwrap(), &format!("GET /local {rest}")).await;
    assert!(answer.contains("/local") && answer.contains(US), "{answer}");
}

pub(crate) async fn raw_bytes_pass_a_unix_socket_and_socks_and_each_direction_closes_separately() {
    let mut real = RealMesh::start().await;
    real.apply("cluster1", LEDGER).await;
    let _peers = tokio::join!(real.gateway(2), ledger(&real));
    let mesh = join(&real).await;
    let bridge = mesh.bridge().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new("ledger.local", 5432).unwrap();
    let path = bridge.listen_postgres(dir.path(), &target).await.unwrap();
    assert_eq!(
        send(UnixStream::connect(path).await.unwrap(), "one\ntwo\n").await,
        "ledger: one\nledger: two\n"
    );

    let mut client = TcpStream::connect(bridge.proxy_address()).await.unwrap();
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x0cledger.local\x15\x38").await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer[..4], [5, 0, 5, 0]);
    assert_eq!(send(client, "three\n").await, "ledger: three\n");
}

pub(crate) async fn the_explanation_of_a_connection_through_the_gateway_contains_the_identity_of_the_peer() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast(2));
    let mesh = join(&real).await;
    let target = Target::new("forecast.weather", 3002).unwrap();
    let explanation = mesh.explain_to(&target, Probe::Handshake).await;
    assert!(explanation.is_ok(), "{explanation}");
    let json: serde_json::Value = serde_json::from_str(&explanation.to_json()).unwrap();
    assert_eq!(json["name"]["match_kind"], "short_name");
    assert_eq!(json["endpoints"].as_array().unwrap().len(), 2, "a gateway for each network: {explanation}");
    assert_eq!(json["endpoints"][0]["gateway"], true);
    assert_eq!(json["endpoints"][0]["transport"]["expected"][0], FORECAST);
    assert_eq!(json["connection"]["peer"], FORECAST);
    assert_eq!(json["membership"]["identity"], US);
}

pub(crate) async fn the_explanation_of_a_reset_by_the_gateway_lists_possible_causes() {
    let mut real = RealMesh::start().await;
    real.apply("cluster1", &LEDGER.replace("ledger.local", "ledger.example")).await;
    let _gateway = real.gateway(2).await;
    let mesh = join(&real).await;
    let target = Target::new("ledger.example", 5432).unwrap();
    let failure = mesh.explain_to(&target, Probe::Handshake).await.failure.unwrap();
    assert_eq!(failure.kind, "tls");
    assert_eq!(failure.attempts[0].sni.as_deref(), Some("outbound_.5432_._.ledger.example"));
    assert!(failure.possible_causes.len() > 1, "{}", failure.message);
}

/// SIMPLE with a credentialName has no transport socket, like DISABLE. Only the metadata distinguishes the two.
pub(crate) async fn tls_with_a_credential_name_is_rejected_and_disable_is_plaintext() {
    let mut real = RealMesh::start().await;
    let listener = TcpListener::bind((real.ip(2, 40), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = |host: &str, tls: &str| {
        let entry = service_entry(host, &[real.ip(2, 40)], port);
        format!("{entry}---\n{}", destination_rule(host, &format!("{{tls: {tls}}}")))
    };
    let rules =
        [rule("disabled", "{mode: DISABLE}"), rule("simple", "{mode: SIMPLE, credentialName: secret}")];
    for rule in rules {
        real.apply("cluster1", &rule).await;
    }
    let mesh = join(&real).await;
    let both = ["disabled.somedomain", "simple.somedomain"];
    let mut names = mesh.client().names().clone();
    names.wait_for(|names| both.iter().all(|name| names.get(name).is_some())).await.unwrap();
    let error = mesh.connect("simple.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    assert!(error.to_string().contains("credentialName"), "{error}");
    let stream = mesh.connect("disabled.somedomain", 27018).await.unwrap();
    assert_eq!(stream.connection().transport(), Transport::Plaintext);
}
