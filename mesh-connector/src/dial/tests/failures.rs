//! Failing endpoints.

use nds_client::resources::endpoint::HealthStatus;
use tokio::net::TcpListener;

use super::*;
use crate::testing::{bare, endpoint, gateway, plaintext};

#[tokio::test]
async fn after_a_refused_connection_the_next_endpoint_is_tried() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let all = in_order([gateway(Server::nobody().await), gateway(server.address)]);
    let stream = client.dial(&all).await.unwrap();
    assert_eq!(stream.connection().peer_addr(), server.address);
    assert!(stream.connection().is_through_gateway());
    assert_eq!(stream.connection().workload_cluster(), Some("cluster2"));
}

#[tokio::test]
async fn after_an_identity_mismatch_the_next_endpoint_is_tried() {
    let authority = Authority::new();
    let wrong = Server::start(&authority.identity(CLIENT)).await;
    let right = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let stream = client.dial(&in_order([wrong.address, right.address].map(endpoint))).await.unwrap();
    assert_eq!(stream.connection().peer_addr(), right.address);
}

#[tokio::test]
async fn if_all_attempts_fail_the_error_lists_each_of_them() {
    let authority = Authority::new();
    let (first, second) = (Server::nobody().await, Server::nobody().await);
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial(&in_order([gateway(first), endpoint(second)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dial);
    let text = error.to_string();
    for part in
        ["forecast.weather:3002", NAME, &format!("gateway {first}"), &format!("endpoint {second}"), SNI]
    {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let [one, two] = error.attempts() else { panic!("{error}") };
    assert_eq!((one.gateway.as_deref(), two.gateway.as_deref()), (Some("cluster2"), None));
    assert!(error.report().contains("refused"), "{}", error.report());
}

#[tokio::test]
async fn a_connection_closed_by_a_gateway_is_an_error_with_possible_causes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            drop(tcp);
        }
    });
    let authority = Authority::new();
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial(&only(gateway(address))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.attempts()[0].error.possible_causes().len() >= 3);
    assert!(error.to_string().contains("possible causes"), "{error}");
}

#[tokio::test]
async fn a_peer_without_tls_is_reported_and_the_next_endpoint_is_tried() {
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
    for (answer, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], "does not speak TLS"),
        (ALERT, "rejected the handshake"),
        (&[0; 64], "does not speak TLS"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                tcp.write_all(answer).await.ok();
                // Reading to the end avoids a reset, which would discard the sent bytes.
                tcp.read_to_end(&mut Vec::new()).await.ok();
            }
        });
        let authority = Authority::new();
        let server = Server::start(&authority.identity(FORECAST)).await;
        let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
        let error = client.dial(&only(gateway(address))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{}", error.report());
        assert!(error.report().contains(said), "{}", error.report());
        client.dial(&in_order([gateway(address), endpoint(server.address)])).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_endpoint_leaves_time_for_the_next_one() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Server::nobody().await;
    let authority = Authority::new();
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    client.time_limit = Duration::from_secs(4);
    let start = Instant::now();
    let error =
        client.dial(&in_order([endpoint(silent.local_addr().unwrap()), endpoint(nobody)])).await.unwrap_err();
    assert_eq!(error.attempts().len(), 2);
    assert_eq!(error.attempts()[0].error.kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed().as_secs(), 2, "the first of two endpoints gets half of the time");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_if_every_endpoint_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let all = (0..20).map(|_| endpoint(silent.local_addr().unwrap()));
    let authority = Authority::new();
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    client.time_limit = Duration::from_millis(2500);
    let start = Instant::now();
    let error = client.dial(&in_order(all)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.attempts().len(), 3);
    assert_eq!(start.elapsed().as_millis() / 10, 250);
}

#[tokio::test]
async fn at_most_ten_endpoints_are_tried() {
    let nobody = Server::nobody().await;
    let authority = Authority::new();
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial(&in_order((0..1000).map(|_| endpoint(nobody)))).await.unwrap_err();
    assert_eq!(error.attempts().len(), MAX_ATTEMPTS);
}

#[tokio::test]
async fn a_cluster_without_endpoints_is_an_error_with_possible_causes() {
    let client = Client::new(Authority::new().identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial(&endpoints(vec![locality(0, 1, vec![])])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint);
    let text = error.to_string();
    for part in [NAME, "tlsMode", "gateway", "PeerAuthentication", "DISABLE", "SIMPLE"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

#[tokio::test]
async fn unhealthy_endpoints_are_not_tried_and_the_error_counts_them() {
    let mut server = Server::start(&Authority::new().identity(FORECAST)).await;
    let mut unhealthy = endpoint(server.address);
    unhealthy.health = HealthStatus::Unhealthy;
    let client = Client::new(Authority::new().identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial(&in_order([unhealthy.clone(), unhealthy])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint);
    assert!(error.to_string().contains("all 2 endpoints"), "{error}");
    assert!(server.has_seen_nothing());
}

#[tokio::test]
async fn a_plaintext_stream_carries_bytes_and_reports_its_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Client::new(Authority::new().identity(CLIENT), plaintext(NAME));
    client.identity = None;
    let (stream, accepted) = tokio::join!(client.dial_one(address), listener.accept());
    let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(peer.read_u32().await.unwrap().to_be_bytes(), *b"ping");
    assert_eq!(stream.connection().transport(), Transport::Plaintext);
    assert_eq!(stream.connection().peer(), None);
    assert!(stream.tcp().nodelay().unwrap());
}

#[tokio::test]
async fn required_mtls_skips_plaintext_endpoints_and_uses_the_others() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let mut bare = endpoint(Server::nobody().await);
    bare.transport_match.clear();
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    client.mtls = Mtls::Required;
    let all = in_order([bare.clone(), endpoint(server.address)]);
    assert_eq!(client.dial(&all).await.unwrap().connection().transport(), Transport::MutualTls);
    let error = client.dial(&only(bare)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused);
    assert!(error.attempts().is_empty());
}

#[tokio::test]
async fn a_refusal_names_the_cluster_and_dials_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(Authority::new().identity(CLIENT), bare(NAME));
    let error = client.dial_one(listener.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused);
    assert!(error.to_string().contains(NAME), "{error}");
    let nobody_came = timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody_came.is_err());
}

#[tokio::test]
async fn without_a_certificate_nothing_is_dialled() {
    let mut server = Server::start(&Authority::new().identity(FORECAST)).await;
    let mut client = Client::new(Authority::new().identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    client.identity = None;
    let error = client.dial_one(server.address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(server.has_seen_nothing());
}

#[tokio::test]
async fn endpoints_with_host_names_are_resolved_by_upstream_dns() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut named = endpoint(server.address);
    named.host = "localhost.test".into();
    let stream = client.dial(&only(named.clone())).await.unwrap();
    assert_eq!(stream.connection().peer_addr(), server.address);
    assert_eq!(stream.connection().endpoint(), format!("localhost.test:{}", server.address.port()));
    named.host = "nowhere.test".into();
    let error = client.dial(&only(named)).await.unwrap_err();
    assert!(error.to_string().contains("nowhere.test"), "{error}");
}

#[tokio::test]
async fn if_the_first_address_of_an_endpoint_fails_its_other_address_is_tried() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut dual = endpoint(server.address);
    dual.host = "127.0.0.9".into();
    dual.additional_addresses = vec![server.address];
    let stream = client.dial(&only(dual)).await.unwrap();
    assert_eq!(stream.connection().peer_addr(), server.address);
}

#[tokio::test]
async fn an_expired_client_certificate_is_not_used() {
    let mut server = Server::start(&Authority::new().identity(FORECAST)).await;
    let expired = Authority::new().expired_identity(CLIENT);
    let client = Client::new(expired, auto_mtls(NAME, &[FORECAST]));
    let error = client.dial_one(server.address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(error.to_string().contains(CLIENT), "{error}");
    assert!(server.has_seen_nothing());
}

#[tokio::test]
async fn an_endpoint_that_failed_recently_is_tried_after_the_others() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let dead = Server::nobody().await;
    // The dead endpoint has the better priority.
    let all = in_order([endpoint(dead), endpoint(server.address)]);
    client.dial(&all).await.unwrap();
    let failing = || client.statuses().into_iter().find(|status| status.failures > 0).unwrap();
    assert_eq!(failing().last_failure, Some(ErrorKind::Dial));
    assert_eq!((failing().cluster, failing().endpoint), (NAME.to_owned(), dead.to_string()));
    client.dial(&all).await.unwrap();
    assert_eq!(failing().failures, 1, "the dead endpoint was tried again");
    // A single endpoint is tried even if it failed recently, and its failures count.
    assert!(client.dial_one(dead).await.is_err());
    assert_eq!(failing().failures, 2);
}

fn at_host(host: &str) -> Endpoint {
    let mut endpoint = endpoint(([127, 0, 0, 1], 1).into());
    endpoint.host = host.to_owned();
    endpoint
}

/// A missing descriptor of this process would otherwise eject all endpoints, one after another.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn without_descriptors_no_other_endpoint_is_tried_and_none_is_blamed() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let all = in_order([at_host("no-descriptor.test"), endpoint(server.address)]);
    let error = client.dial(&all).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::LocalResource, 1), "{error}");
    assert!(error.is_transient() && error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    assert_eq!(error.raw_os_error(), Some(EMFILE));
    assert!(client.statuses().iter().all(|status| status.failures == 0 && status.deferred_for.is_zero()));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_endpoint_of_an_ip_family_that_this_host_does_not_have_is_skipped_and_not_blamed() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let all = in_order([at_host("no-address.test"), endpoint(server.address)]);
    client.dial(&all).await.unwrap();
    assert!(client.statuses().iter().all(|status| status.failures == 0 && status.deferred_for.is_zero()));
    let error = client.dial(&only(at_host("no-address.test"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LocalResource);
    assert!(error.to_string().contains("ip_local_port_range"), "{error}");
}

/// The cost must not be the square of their number.
#[tokio::test]
async fn any_number_of_endpoints_to_which_no_connection_is_permitted_is_refused_together() {
    let mut client = Client::new(Authority::new().identity(CLIENT), bare(NAME));
    client.mtls = Mtls::Required;
    let plaintext = |port| {
        let mut endpoint = endpoint(([127, 0, 0, 1], port).into());
        endpoint.transport_match.clear();
        endpoint
    };
    let all = endpoints(vec![locality(0, 1, (1..=60_000).map(plaintext).collect())]);
    let error = client.dial(&all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused);
}
