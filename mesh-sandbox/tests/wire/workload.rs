//! The inbound side of a sidecar, connected to directly.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_sandbox::event::WorkloadOutcome;
use mesh_sandbox::{Event, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, tour_and_identity};
use crate::mesh::{Folder, pod, service};
use crate::tls::{dial, exchange, get, peer};

const SNI: &str = "outbound_.3002_._.forecast.weather.svc.cluster.local";

fn forecast(sandbox: &Sandbox) -> SocketAddr {
    sandbox.address_book().socket("network1", "10.10.1.11", 8080).unwrap()
}

async fn outcome(sandbox: &Sandbox) -> WorkloadOutcome {
    let outcome = |event: &Event| match event {
        Event::Workload(event) => Some(event.outcome.clone()),
        _ => None,
    };
    sandbox.events().wait(outcome).await
}

#[tokio::test]
async fn permissive_accepts_plaintext() {
    let (sandbox, _) = tour_and_identity().await;
    let answer = get(TcpStream::connect(forecast(&sandbox)).await.unwrap(), "/").await.unwrap();
    assert_eq!((answer["pod"].as_str(), answer["client"].as_str()), (Some("forecast-1a"), None));
    assert_eq!(outcome(&sandbox).await, WorkloadOutcome::Plaintext);
}

#[tokio::test]
async fn tls_without_an_istio_alpn_has_no_filter_chain_on_an_http_port() {
    let (sandbox, identity) = tour_and_identity().await;
    assert!(dial(&sandbox, forecast(&sandbox), SNI, &["http/1.1"], Some(&identity)).await.is_err());
    assert_eq!(outcome(&sandbox).await, WorkloadOutcome::NoFilterChain);
}

#[tokio::test]
async fn a_certificate_of_another_mesh_is_rejected() {
    let (sandbox, _) = tour_and_identity().await;
    let (_other, foreign) = tour_and_identity().await;
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&foreign)).await;
    if let Ok(stream) = stream {
        assert!(get(stream, "/").await.is_err());
    }
    assert!(matches!(outcome(&sandbox).await, WorkloadOutcome::HandshakeFailed { .. }));
}

#[tokio::test]
async fn a_configured_trust_domain_is_in_every_identity() {
    let folder = Folder::tour();
    let sandbox = folder.builder().with_trust_domain("prod.example").start().await.unwrap();
    let identity = Client::vm(&sandbox).certificate().await;
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.unwrap();
    assert_eq!(peer(&stream), "spiffe://prod.example/ns/weather/sa/forecast");
    assert_eq!(get(stream, "/").await.unwrap()["client"], "spiffe://prod.example/ns/vms/sa/edge-app");
}

#[tokio::test]
async fn an_endpoint_without_a_sidecar_echoes_in_plaintext() {
    let (sandbox, _) = tour_and_identity().await;
    let socket = sandbox.address_book().socket("", "2.2.2.2", 27018).unwrap();
    let answer = exchange(TcpStream::connect(socket).await.unwrap(), "ping").await.unwrap();
    assert_eq!(answer, "mongocluster-0: ping\n");
}

#[tokio::test]
async fn another_application_can_replace_the_built_in_one_of_a_service() {
    let (sandbox, identity) = tour_and_identity().await;
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (service, by) = ("forecast.weather.svc.cluster.local", application.local_addr().unwrap());
    sandbox.serve(service, 3002, by).unwrap();
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.unwrap();
    assert_eq!(peer(&stream), "spiffe://cluster.local/ns/weather/sa/forecast");
    let served = async {
        let (mut served, _) = application.accept().await.unwrap();
        let mut asked = [0; 5];
        served.read_exact(&mut asked).await.unwrap();
        served.write_all(b"you said ").await.unwrap();
        served.write_all(&asked).await.unwrap();
    };
    let (answer, ()) = tokio::join!(exchange(stream, "ping"), served);
    assert_eq!(answer.unwrap(), "you said ping\n");

    sandbox.restore_application(service, 3002).unwrap();
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.unwrap();
    assert_eq!(get(stream, "/").await.unwrap()["pod"], "forecast-1a");
    let unknown = sandbox.serve(service, 80, by).unwrap_err();
    assert!(unknown.to_string().contains("forecast.weather.svc.cluster.local:80"), "{unknown}");
}

#[tokio::test]
async fn an_impersonating_workload_presents_another_identity_until_the_fault_ends() {
    let (sandbox, identity) = tour_and_identity().await;
    let presented = async || {
        let stream = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.unwrap();
        peer(&stream)
    };
    sandbox.impersonate("weather", "forecast", "mallory").unwrap();
    assert_eq!(presented().await, "spiffe://cluster.local/ns/weather/sa/mallory");
    sandbox.restore_workload("weather", "forecast").unwrap();
    assert_eq!(presented().await, "spiffe://cluster.local/ns/weather/sa/forecast");
}

#[tokio::test]
async fn the_client_rejects_an_expired_certificate() {
    let (sandbox, identity) = tour_and_identity().await;
    sandbox.expire_workload("weather", "forecast").unwrap();
    let refused = dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.err().unwrap();
    assert!(refused.to_string().contains("expired"), "{refused}");
    sandbox.restore_workload("weather", "forecast").unwrap();
    dial(&sandbox, forecast(&sandbox), SNI, &["istio"], Some(&identity)).await.unwrap();
}

fn tcp(folder: &Folder, extra: &str) {
    let service = service("raw", "10.1.0.9").replace("name: http", "name: tcp");
    folder.write("c1", "raw.yaml", &format!("{service}{}{extra}", pod("raw-0", "raw", "10.1.1.1")));
}

const STRICT: &str = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, \
                      namespace: a}\nspec: {mtls: {mode: STRICT}}\n";

#[tokio::test]
async fn a_permissive_tcp_port_passes_tls_without_an_istio_alpn_to_the_application() {
    let folder = Folder::new(&[("c1", "n1")]);
    tcp(&folder, "");
    let sandbox = folder.start().await;
    let socket = sandbox.address_book().socket("n1", "10.1.1.1", 8080).unwrap();
    assert!(dial(&sandbox, socket, "raw", &["h2"], None).await.is_err(), "the application does not use TLS");
    assert_eq!(outcome(&sandbox).await, WorkloadOutcome::PassedThrough);
}

#[tokio::test]
async fn a_client_that_offers_peer_exchange_gets_the_preamble() {
    let folder = Folder::new(&[("c1", "n1")]);
    tcp(&folder, "");
    let sandbox = folder.start().await;
    let identity = Client::vm(&sandbox).certificate().await;
    let socket = sandbox.address_book().socket("n1", "10.1.1.1", 8080).unwrap();
    let offer = ["istio-peer-exchange", "istio"];
    let stream = dial(&sandbox, socket, "raw", &offer, Some(&identity)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"istio-peer-exchange"[..]));
    let answer = exchange(stream, "ping").await;
    assert!(!answer.is_ok_and(|answer| answer == "raw-0: ping\n"), "the preamble comes before the answer");
}

#[tokio::test]
async fn strict_closes_plaintext_and_terminates_all_tls() {
    let folder = Folder::new(&[("c1", "n1")]);
    tcp(&folder, STRICT);
    let sandbox = folder.start().await;
    let identity = Client::vm(&sandbox).certificate().await;
    let socket = sandbox.address_book().socket("n1", "10.1.1.1", 8080).unwrap();
    let plain = exchange(TcpStream::connect(socket).await.unwrap(), "ping").await;
    assert!(!plain.is_ok_and(|answer| !answer.is_empty()));
    let stream = dial(&sandbox, socket, "raw", &[], Some(&identity)).await.unwrap();
    assert_eq!(exchange(stream, "ping").await.unwrap(), "raw-0: ping\n");
}

#[tokio::test]
async fn the_application_reports_the_parameters_of_the_handshake() {
    let (sandbox, identity) = tour_and_identity().await;
    let offer = ["istio-http/1.1", "istio", "http/1.1"];
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &offer, Some(&identity)).await.unwrap();
    let answer = get(stream, "/a?b=c").await.unwrap();
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [text("sni"), text("alpn"), text("tls"), text("path")],
        [SNI, "http/1.1", "TLSv1.3", "/a?b=c"]
    );
    assert_eq!(text("spiffe"), "spiffe://cluster.local/ns/weather/sa/forecast");
}

/// An HTTP/2 client to forecast.
async fn h2() -> (Sandbox, http2::SendRequest<Full<Bytes>>) {
    let (sandbox, identity) = tour_and_identity().await;
    let offer = ["istio-h2", "istio", "h2"];
    let stream = dial(&sandbox, forecast(&sandbox), SNI, &offer, Some(&identity)).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    (sandbox, client)
}

#[tokio::test]
async fn http2_is_served_if_alpn_selected_it() {
    let (_sandbox, mut client) = h2().await;
    let request = http::Request::get("http://forecast/h2").body(Full::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((answer["protocol"].as_str(), answer["path"].as_str()), (Some("HTTP/2.0"), Some("/h2")));
}

#[tokio::test]
async fn bytes_echo_and_status_paths_return_other_bodies() {
    let (_sandbox, mut client) = h2().await;
    let ask = |path: &str| {
        let body = Full::from("hello");
        http::Request::post(format!("http://forecast{path}")).body(body).unwrap()
    };
    let response = client.send_request(ask("/bytes/1000")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 1000);
    let response = client.send_request(ask("/echo")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(client.send_request(ask("/status/503")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_grpc_health_check_is_answered() {
    let (_sandbox, mut client) = h2().await;
    let request = http::Request::post("http://forecast/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Full::from(&[0, 0, 0, 0, 0][..]))
        .unwrap();
    let body = client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(&body.to_bytes()[..], [0, 0, 0, 0, 2, 8, 1]);
}
