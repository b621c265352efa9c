//! Calls through a real east-west gateway to workloads with certificates of the real CA.

use std::collections::BTreeSet;

use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{ConnectionInfo, ErrorKind, Protocol, Transport, hyper::HttpClient};
use mesh_tests::peers::RealMesh;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::common::{LEDGER, join, ledger};

const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";

async fn get(
    client: &HttpClient<Empty<Bytes>>,
    url: &'static str,
) -> Result<(Value, ConnectionInfo), mesh_connector::Error> {
    let response = client.get(Uri::from_static(url)).await?;
    let connection = response.extensions().get::<ConnectionInfo>().unwrap().clone();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((serde_json::from_slice(&body).unwrap(), connection))
}

pub(crate) async fn a_call_through_the_gateway_reaches_the_expected_workload() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast(2));
    let mesh = join(&real).await;
    // Only the gateway of network2 runs: attempts at the other gateway fail over.
    let client = mesh.http_client();
    let (body, connection) = get(&client, "http://forecast.weather:3002/today").await.unwrap();
    assert_eq!(body["client"], "spiffe://cluster.local/ns/legacy/sa/vm");
    assert_eq!(body["sni"], "outbound_.3002_._.forecast.weather.svc.cluster.local");
    assert_eq!((&body["name"], &body["path"]), (&"forecast-cluster2".into(), &"/today".into()));
    assert_eq!(body["alpn"], "http/1.1");
    assert!(connection.is_through_gateway());
    assert_eq!(connection.peer_name(), Some(FORECAST));
    assert_eq!(connection.transport(), Transport::MutualTls);
    assert_eq!(connection.peer_addr().to_string(), format!("{}:15443", real.ip(2, 2)));
}

pub(crate) async fn calls_are_spread_over_the_gateways_of_both_networks() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(1), real.gateway(2), real.forecast(1), real.forecast(2));
    let mesh = join(&real).await;
    let client = mesh.http_client().with_max_idle_per_host(0);
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        let (body, connection) =
            get(&client, "http://forecast.weather.svc.cluster.local:3002/").await.unwrap();
        let gateway = connection.peer_addr().ip().to_string();
        seen.insert((body["name"].as_str().unwrap().to_owned(), gateway));
    }
    let expected = [("forecast-cluster1", real.ip(1, 2)), ("forecast-cluster2", real.ip(2, 2))];
    assert_eq!(seen, expected.map(|(name, gateway)| (name.to_owned(), gateway)).into());
}

pub(crate) async fn a_workload_with_another_identity_is_rejected_and_the_error_names_both_identities() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast_as(2, "mallory", &[]));
    let mesh = join(&real).await;
    let error = get(&mesh.http_client(), "http://forecast.weather:3002/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    let mismatch = error.identity_mismatch().unwrap();
    assert_eq!(mismatch.expected, [FORECAST]);
    assert_eq!(mismatch.presented, ["spiffe://cluster.local/ns/weather/sa/mallory"]);
    for name in [FORECAST, "spiffe://cluster.local/ns/weather/sa/mallory"] {
        assert!(error.report().contains(name), "{}", error.report());
    }
}

pub(crate) async fn http2_is_negotiated_through_the_gateway() {
    let real = RealMesh::start().await;
    let _peers = tokio::join!(real.gateway(2), real.forecast(2));
    let mesh = join(&real).await;
    let client: HttpClient<Empty<Bytes>> = HttpClient::new(mesh.connector().with_protocol(Protocol::Http2));
    let request = Request::get("http://forecast.weather:3002/").body(Empty::new()).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.extensions().get::<ConnectionInfo>().unwrap().alpn(), Some("h2"));
}

pub(crate) async fn a_raw_stream_through_the_gateway_needs_no_negotiated_protocol() {
    let mut real = RealMesh::start().await;
    real.apply("cluster1", LEDGER).await;
    let _peers = tokio::join!(real.gateway(2), ledger(&real));
    let mesh = join(&real).await;
    let mut stream = mesh.connect("ledger.local", 5432).await.unwrap();
    stream.write_all(b"hello\n").await.unwrap();
    assert_eq!(stream.connection().alpn(), None);
    assert_eq!(stream.connection().peer_name(), Some("spiffe://cluster.local/ns/weather/sa/ledger"));
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "ledger: hello\n");
}

pub(crate) async fn the_error_of_a_host_that_the_gateway_does_not_expose_lists_possible_causes() {
    let mut real = RealMesh::start().await;
    real.apply("cluster1", &LEDGER.replace("ledger.local", "ledger.example")).await;
    let _gateway = real.gateway(2).await;
    let mesh = join(&real).await;
    let error = mesh.connect("ledger.example", 5432).await.unwrap_err();
    assert!(error.attempts()[0].error.possible_causes().len() > 1, "{}", error.report());
    assert_eq!(error.attempts()[0].gateway.as_deref(), Some("cluster2"), "{}", error.report());
    assert!(error.report().contains("outbound_.5432_._.ledger.example"), "{}", error.report());
}

pub(crate) async fn plaintext_is_used_if_the_control_plane_configures_it_and_not_if_mtls_is_required() {
    let mut real = RealMesh::start().await;
    let listener = tokio::net::TcpListener::bind((real.ip(2, 40), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let yaml = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: plain, namespace: weather}}
spec:
  hosts: [plain.somedomain]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 27018, name: mongodb, protocol: TCP, targetPort: {port}}}]
  endpoints: [{{address: 127.0.2.40}}]
"
    );
    real.apply("cluster1", &yaml).await;
    let mesh = join(&real).await;
    mesh.client().names().clone().wait_for(|names| names.get("plain.somedomain").is_some()).await.unwrap();
    let stream = mesh.connect("plain.somedomain", 27018).await.unwrap();
    assert_eq!(stream.connection().transport(), Transport::Plaintext);
    let error = mesh.requiring_mtls().connect("plain.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
}

pub(crate) async fn the_error_of_an_unknown_port_lists_the_ports_of_the_service() {
    let real = RealMesh::start().await;
    let mesh = join(&real).await;
    let error = mesh.connect("forecast.weather", 3003).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPort, "{}", error.report());
    assert!(error.to_string().contains("3002"), "{error}");
}
