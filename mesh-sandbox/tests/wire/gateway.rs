//! A gateway forwards known SNIs and resets all other connections.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesh_sandbox::event::GatewayOutcome;
use mesh_sandbox::{Event, Sandbox};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::tour_and_identity;
use crate::tls::{dial, exchange, get, peer};

const SNI: &str = "outbound_.3002_._.forecast.weather.svc.cluster.local";

fn into(sandbox: &Sandbox, network: &str) -> SocketAddr {
    sandbox.gateways().into_iter().find(|gateway| gateway.network == network).unwrap().address
}

async fn outcome(sandbox: &Sandbox) -> GatewayOutcome {
    let outcome = |event: &Event| match event {
        Event::Gateway(event) => Some(event.outcome.clone()),
        _ => None,
    };
    sandbox.events().wait(outcome).await
}

#[tokio::test]
async fn the_peer_behind_the_gateway_is_the_workload() {
    let (sandbox, identity) = tour_and_identity().await;
    for (network, cluster) in [("network1", "cluster1"), ("network2", "cluster2")] {
        let stream = dial(&sandbox, into(&sandbox, network), SNI, &["istio"], Some(&identity)).await.unwrap();
        assert_eq!(peer(&stream), "spiffe://cluster.local/ns/weather/sa/forecast");
        let answer = get(stream, "/today").await.unwrap();
        assert_eq!(answer["cluster"], cluster);
        assert_eq!(answer["path"], "/today");
        assert_eq!(answer["client"], "spiffe://cluster.local/ns/vms/sa/edge-app");
    }
}

#[tokio::test]
async fn a_slow_gateway_forwards_connections_late_and_immediately_when_the_delay_ends() {
    const DELAY: Duration = Duration::from_millis(300);
    let (sandbox, identity) = tour_and_identity().await;
    let call = async || {
        let gateway = into(&sandbox, "network2");
        let stream = dial(&sandbox, gateway, SNI, &["istio"], Some(&identity)).await.unwrap();
        get(stream, "/").await.unwrap()
    };
    sandbox.slow_gateway("network2", DELAY).unwrap();
    let start = Instant::now();
    call().await;
    assert!(start.elapsed() >= DELAY);
    // The gateway is a black hole until the delay is removed.
    sandbox.slow_gateway("network2", Duration::from_secs(3600)).unwrap();
    let (_, answer) = tokio::join!(
        async {
            let is_waiting = tokio::time::timeout(DELAY, outcome(&sandbox));
            assert!(is_waiting.await.is_ok(), "the first connection is recorded");
            sandbox.restore_gateway("network2").unwrap();
        },
        call()
    );
    assert_eq!(answer["cluster"], "cluster2");
    let error = sandbox.slow_gateway("network9", DELAY).unwrap_err().to_string();
    assert!(error.contains("network9") && error.contains("network1"), "{error}");
}

#[tokio::test]
async fn a_gateway_selects_pods_in_turn() {
    let (sandbox, identity) = tour_and_identity().await;
    let mut pods = Vec::new();
    for _ in 0..2 {
        let gateway = into(&sandbox, "network2");
        let stream = dial(&sandbox, gateway, SNI, &["istio"], Some(&identity)).await.unwrap();
        pods.push(get(stream, "/").await.unwrap()["pod"].as_str().unwrap().to_owned());
    }
    pods.sort();
    assert_eq!(pods, ["forecast-2a", "forecast-2b"]);
}

#[tokio::test]
async fn the_workload_selects_the_alpn_like_envoy() {
    let (sandbox, identity) = tour_and_identity().await;
    let cases: [(&[&str], Option<&[u8]>); 4] = [
        (&["istio"], None),
        (&["istio-http/1.1", "istio", "http/1.1"], Some(b"http/1.1")),
        (&["istio-h2", "istio", "h2"], Some(b"h2")),
        (&["istio", "h2"], Some(b"h2")),
    ];
    for (offer, chosen) in cases {
        let stream = dial(&sandbox, into(&sandbox, "network1"), SNI, offer, Some(&identity)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offer:?}");
    }
}

#[tokio::test]
async fn an_unknown_sni_is_reset_without_an_alert() {
    let names = [
        "outbound_.3003_._.forecast.weather.svc.cluster.local",
        "forecast.weather.svc.cluster.local",
        "outbound_.27018_._.mymongodb.somedomain",
    ];
    for name in names {
        let (sandbox, identity) = tour_and_identity().await;
        let gateway = into(&sandbox, "network1");
        let error = dial(&sandbox, gateway, name, &["istio"], Some(&identity)).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{name}: {error}");
        assert_eq!(outcome(&sandbox).await, GatewayOutcome::UnknownSni);
    }
}

#[tokio::test]
async fn a_client_without_an_istio_alpn_is_reset() {
    for offer in [&["http/1.1"][..], &["h2"], &[]] {
        let (sandbox, identity) = tour_and_identity().await;
        let gateway = into(&sandbox, "network1");
        let error = dial(&sandbox, gateway, SNI, offer, Some(&identity)).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{offer:?}: {error}");
        assert_eq!(outcome(&sandbox).await, GatewayOutcome::NoIstioAlpn);
    }
}

#[tokio::test]
async fn a_service_of_the_other_network_is_reset_like_an_unknown_service() {
    let (sandbox, identity) = tour_and_identity().await;
    let sni = "outbound_.3003_._.archive.weather.svc.cluster.local";
    let gateway = into(&sandbox, "network1");
    let error = dial(&sandbox, gateway, sni, &["istio"], Some(&identity)).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(outcome(&sandbox).await, GatewayOutcome::NoUpstream);
    dial(&sandbox, into(&sandbox, "network2"), sni, &["istio"], Some(&identity)).await.unwrap();
}

#[tokio::test]
async fn plaintext_is_reset() {
    let (sandbox, _) = tour_and_identity().await;
    let stream = TcpStream::connect(into(&sandbox, "network1")).await.unwrap();
    let error = get(stream, "/").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_service_entry_that_the_gateway_exposes_is_reachable() {
    let (sandbox, identity) = tour_and_identity().await;
    let sni = "outbound_.5432_._.ledger.payments.example";
    let stream = dial(&sandbox, into(&sandbox, "network2"), sni, &["istio"], Some(&identity)).await.unwrap();
    assert_eq!(peer(&stream), "spiffe://cluster.local/ns/payments/sa/ledger");
    let answer = exchange(stream, "book 7").await.unwrap();
    assert!(answer.starts_with("ledger-") && answer.ends_with(": book 7\n"), "{answer}");
}

#[tokio::test]
async fn the_workload_rejects_a_client_without_a_certificate() {
    let (sandbox, _) = tour_and_identity().await;
    let stream = dial(&sandbox, into(&sandbox, "network1"), SNI, &["istio"], None).await;
    // In TLS 1.3, the handshake completes at the client before the server rejects its certificate.
    let refused = match stream {
        Ok(stream) => get(stream, "/").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test]
async fn a_stopped_gateway_refuses_connections_and_closes_existing_ones() {
    let (sandbox, identity) = tour_and_identity().await;
    let gateway = into(&sandbox, "network1");
    let mut stream = dial(&sandbox, gateway, SNI, &["istio"], Some(&identity)).await.unwrap();
    sandbox.stop_gateway("network1").await.unwrap();
    let mut byte = [0];
    assert!(!matches!(stream.read(&mut byte).await, Ok(1..)));
    let refused = dial(&sandbox, gateway, SNI, &["istio"], Some(&identity)).await.err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    sandbox.restore_gateway("network1").unwrap();
    dial(&sandbox, gateway, SNI, &["istio"], Some(&identity)).await.unwrap();
    assert!(sandbox.stop_gateway("nowhere").await.is_err());
}
