//! Identities of both sides.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use rustls::{SupportedProtocolVersion, pki_types::UnixTime, time_provider::TimeProvider, version};

use super::*;

#[tokio::test]
async fn both_sides_verify_the_identity_and_the_connection_reports_it() {
    let authority = Authority::new();
    let mut server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut stream = client.dial_one(server.address).await.unwrap();
    assert_eq!(&echoed(&mut stream).await.unwrap(), b"ping");

    let info = stream.connection();
    assert_eq!(info.peer().unwrap().as_str(), FORECAST);
    assert_eq!(info.transport(), Transport::MutualTls);
    assert_eq!((info.host(), info.port()), ("forecast.weather", 3002));
    assert_eq!(info.service(), Some("forecast.weather.svc.cluster.local"));
    assert_eq!(info.cluster(), Some(NAME));
    assert_eq!(info.peer_addr(), server.address);
    assert_eq!(info.workload_cluster(), Some("cluster1"));
    assert!(!info.is_through_gateway());

    let seen = server.seen().await;
    assert_eq!((seen.sni.as_str(), info.sni()), (SNI, Some(SNI)));
    assert_eq!(seen.client, [CLIENT]);
    assert_eq!(seen.version, rustls::ProtocolVersion::TLSv1_3);
}

#[tokio::test]
async fn a_connection_without_selected_alpn_is_normal_and_http_protocols_are_selected() {
    let authority = Authority::new();
    let mut server = Server::start(&authority.identity(FORECAST)).await;
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    for (protocol, offered, selected) in [
        (Protocol::Tcp, &["istio"][..], None),
        (Protocol::Http1, &["istio-http/1.1", "istio", "http/1.1"], Some("http/1.1")),
        (Protocol::Http2, &["istio-h2", "istio", "h2"], Some("h2")),
    ] {
        client.protocol = protocol;
        let stream = client.dial_one(server.address).await.unwrap();
        assert_eq!(server.seen().await.offered, offered);
        assert_eq!(stream.connection().alpn_offered(), offered);
        assert_eq!(stream.connection().alpn(), selected);
    }
}

#[tokio::test]
async fn tls_1_2_works() {
    let authority = Authority::new();
    let mut server = Server::start_with(&authority.identity(FORECAST), &[&version::TLS12]).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut stream = client.dial_one(server.address).await.unwrap();
    assert_eq!(&echoed(&mut stream).await.unwrap(), b"ping");
    let seen = server.seen().await;
    assert_eq!(seen.version, rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(seen.client, [CLIENT]);
}

#[tokio::test]
async fn an_identity_mismatch_fails_the_handshake_and_names_both_identities() {
    let authority = Authority::new();
    let other = "spiffe://cluster.local/ns/weather/sa/other";
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let mut server = Server::start_with(&authority.identity(other), versions).await;
        let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
        let error = client.dial_one(server.address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PeerIdentity);
        let text = error.to_string();
        let address = server.address.to_string();
        for part in [FORECAST, other, NAME, SNI, &address] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        let mismatch = error.identity_mismatch().unwrap();
        assert_eq!(mismatch.expected, [FORECAST]);
        assert_eq!(mismatch.presented_id().unwrap().as_str(), other);
        assert!(server.has_seen_nothing());
    }
}

#[tokio::test]
async fn a_certificate_of_another_root_is_rejected() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(&theirs.identity_with(FORECAST, &ours)).await;
    let client = Client::new(ours.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial_one(server.address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity);
    assert!(error.identity_mismatch().is_none());
    assert!(error.report().contains("invalid peer certificate"), "{}", error.report());
}

#[tokio::test]
async fn without_expected_names_only_the_own_trust_domain_is_accepted() {
    let authority = Authority::new();
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[]));
    let own = Server::start(&authority.identity(FORECAST)).await;
    assert!(client.dial_one(own.address).await.is_ok());
    let foreign = "spiffe://elsewhere/ns/weather/sa/forecast";
    let other = Server::start(&authority.identity(foreign)).await;
    let error = client.dial_one(other.address).await.unwrap_err();
    let mismatch = error.identity_mismatch().unwrap();
    assert_eq!(mismatch.expected, ["spiffe://cluster.local/*"]);
    assert_eq!(mismatch.presented, [foreign]);
}

#[tokio::test]
async fn an_open_connection_survives_a_new_identity() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut before = client.dial_one(server.address).await.unwrap();
    assert_eq!(echoed(&mut before).await.unwrap(), *b"ping");
    let mut after = client.dial_with(&authority.identity(CLIENT).into(), server.address).await.unwrap();
    drop(client);
    for stream in [&mut after, &mut before] {
        assert_eq!(echoed(stream).await.unwrap(), *b"ping");
    }
}

#[tokio::test]
async fn a_session_is_resumed_only_with_the_same_identity() {
    let authority = Authority::new();
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let mut server = Server::start_with(&authority.identity(FORECAST), versions).await;
        let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
        let mut resumed = Vec::new();
        for identity in [None, None, Some("spiffe://cluster.local/ns/vms/sa/renewed")] {
            if let Some(identity) = identity {
                client.identity = Some(authority.identity(identity).into());
            }
            let mut stream = client.dial_one(server.address).await.unwrap();
            echoed(&mut stream).await.unwrap();
            assert_eq!(stream.connection().peer().unwrap().as_str(), FORECAST);
            let seen = server.seen().await;
            resumed.push((seen.resumed, seen.client.concat()));
        }
        let renewed = "spiffe://cluster.local/ns/vms/sa/renewed";
        let expected = [(false, CLIENT), (true, CLIENT), (false, renewed)];
        assert_eq!(resumed, expected.map(|(resumed, client)| (resumed, client.to_owned())));
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_the_expected_names_change() {
    let authority = Authority::new();
    let mut server = Server::start(&authority.identity(FORECAST)).await;
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    echoed(&mut client.dial_one(server.address).await.unwrap()).await.unwrap();
    server.seen().await;
    client.cluster = Arc::new(auto_mtls(NAME, &["spiffe://cluster.local/ns/weather/sa/other"]));
    let error = client.dial_one(server.address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity);
}

#[tokio::test]
async fn a_session_is_not_resumed_after_the_roots_change() {
    let (authority, other) = (Authority::new(), Authority::new());
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let mut server = Server::start_with(&authority.identity(FORECAST), versions).await;
        let [trusting, distrusting] = authority.one_certificate_two_roots(CLIENT, &other).map(Arc::new);
        let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
        for resumed in [false, true] {
            let mut stream = client.dial_with(&trusting, server.address).await.unwrap();
            echoed(&mut stream).await.unwrap();
            assert_eq!(server.seen().await.resumed, resumed);
        }
        let error = client.dial_with(&distrusting, server.address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    }
}

#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
#[tokio::test]
async fn each_identity_is_used_with_its_own_crypto_provider() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    for provider in [rustls::crypto::ring::default_provider(), rustls::crypto::aws_lc_rs::default_provider()]
    {
        let identity = Arc::new(authority.identity_by(CLIENT, provider));
        let mut stream = client.dial_with(&identity, server.address).await.unwrap();
        assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
    }
    assert!(
        rustls::crypto::CryptoProvider::get_default().is_none(),
        "the process-wide default provider is not set"
    );
}

#[tokio::test]
async fn a_rejected_client_certificate_is_an_error_of_the_first_read() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(&theirs.identity(FORECAST)).await;
    let client = Client::new(ours.identity_with(CLIENT, &theirs), auto_mtls(NAME, &[FORECAST]));
    let mut stream = client.dial_one(server.address).await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    let error = Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains(FORECAST), "{error}");
    let status = &client.statuses()[0];
    assert_eq!(status.last_failure, Some(ErrorKind::Tls), "a late rejection counts as a failed attempt");
}

#[tokio::test]
async fn a_rejected_client_certificate_in_tls_1_2_fails_the_attempt() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start_with(&theirs.identity(FORECAST), &[&version::TLS12]).await;
    let client = Client::new(ours.identity_with(CLIENT, &theirs), auto_mtls(NAME, &[FORECAST]));
    let error = client.dial_one(server.address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("rejected the handshake"), "{error}");
}

/// At least 10 000 rotations of the certificate, until enough connections were made. No connection fails, and none uses
/// an identity that was replaced before it started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rotations_under_load_fail_no_connection() {
    const ROTATIONS: usize = 10_000;
    const CONNECTIONS: usize = 100;
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    // Keys are reused, so that most time is spent on rotations. All identities differ.
    let current = Arc::new(arc_swap::ArcSwap::from_pointee(authority.identity(CLIENT)));
    let client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let connections = Arc::new(AtomicUsize::new(0));
    let rotations = tokio::task::spawn_blocking({
        let (current, connections) = (current.clone(), connections.clone());
        move || {
            let mut rotation = 0;
            while rotation < ROTATIONS || connections.load(Relaxed) < CONNECTIONS {
                current.store(authority.identity(CLIENT).into());
                rotation += 1;
            }
        }
    });
    while !rotations.is_finished() {
        let identity = current.load_full();
        let mut stream = client.dial_with(&identity, server.address).await.unwrap();
        assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
        connections.fetch_add(1, Relaxed);
    }
    rotations.await.unwrap();
    // The entries of replaced identities are dropped.
    assert_eq!(client.statuses().len(), 1);
    assert_eq!(Arc::strong_count(&client.tls), 2, "the client and one entry");
}

/// A clock that is ahead of the clock of the system by this number of seconds.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = UnixTime::now().as_secs() + self.0.load(Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

/// Connects twice, so that the second connection is resumed, and once more `seconds` later. Returns the result of the
/// third, and whether it was resumed. The certificate of the server is valid for ten minutes, or for long.
async fn resumed_after(
    seconds: u64,
    short: bool,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<bool, Error> {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&[FORECAST], |params| {
        if short {
            params.not_after = (std::time::SystemTime::now() + Duration::from_secs(600)).into();
        }
    });
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    let root = authority.root().as_bytes();
    let server = Identity::from_pem(chain.as_bytes(), key.as_bytes(), root, testing::provider()).unwrap();
    let mut server = Server::start_with(&server, versions).await;
    let clock = Arc::new(Clock::default());
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    let mut settings = TlsSettings::default();
    settings.time = Some(clock.clone());
    client.tls = Arc::new(settings);
    for resumed in [false, true] {
        let mut stream = client.dial_one(server.address).await.unwrap();
        // The ticket arrives with the first bytes.
        assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
        assert_eq!(server.seen().await.resumed, resumed);
    }
    clock.0.store(seconds, Relaxed);
    client.dial_one(server.address).await?;
    Ok(server.seen().await.resumed)
}

/// A resumed handshake does not verify the certificate again.
#[tokio::test]
async fn a_session_is_not_resumed_after_the_certificate_of_the_peer_has_expired() {
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        assert!(resumed_after(300, true, versions).await.unwrap());
        let error = resumed_after(700, true, versions).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
        assert!(error.report().contains("expired"), "{}", error.report());
    }
}

#[tokio::test]
async fn the_peer_is_verified_again_after_the_maximum_age_of_a_session() {
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        assert!(resumed_after(3500, false, versions).await.unwrap());
        assert!(!resumed_after(3700, false, versions).await.unwrap());
    }
}
