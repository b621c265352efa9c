//! Policies of a cluster other than identities: limits, ejection, PROXY headers, TLS versions, keepalive.

use nds_client::resources::cluster::{ProxyProtocol, TlsVersion, TransportSocket};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::testing::{bare, ejecting};

fn without_sidecar(address: SocketAddr) -> Endpoint {
    let mut endpoint = testing::endpoint(address);
    endpoint.transport_match.clear();
    endpoint
}

/// Returns a client of a service outside the mesh.
fn plain(cluster: Cluster) -> Client {
    Client::new(Authority::new().identity(CLIENT), cluster)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_ends() {
    let (_listener, address) = listener().await;
    let mut cluster = bare(NAME);
    cluster.circuit_breakers.max_connections = 2;
    let client = plain(cluster);
    let all = only(without_sidecar(address));
    let one = client.dial(&all).await.unwrap();
    let _two = client.dial(&all).await.unwrap();
    let error = client.dial(&all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyConnections, "{}", error.report());
    assert!(error.to_string().contains(NAME) && error.to_string().contains('2'), "{error}");
    drop(one);
    client.dial(&all).await.unwrap();
}

#[tokio::test]
async fn an_ejected_endpoint_is_not_dialled_and_the_error_reports_the_ejection() {
    let (listener, address) = listener().await;
    let mut cluster = ejecting(NAME);
    cluster.outlier_detection.as_mut().unwrap().max_ejection_percent = 100;
    let client = plain(cluster);
    let dead = Server::nobody().await;
    let both = endpoints(vec![locality(0, 2, vec![without_sidecar(dead), without_sidecar(address)])]);
    // A single endpoint is tried until its failures reach the threshold.
    for _ in 0..2 {
        let error = client.dial(&only(without_sidecar(dead))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dial, "{}", error.report());
    }
    let error = client.dial(&only(without_sidecar(dead))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoEndpoint, "{}", error.report());
    assert!(error.to_string().contains("ejected"), "{error}");
    assert!(error.attempts().is_empty());
    for _ in 0..8 {
        assert_eq!(client.dial(&both).await.unwrap().connection().peer_addr(), address);
    }
    drop(listener);
}

#[tokio::test]
async fn a_proxy_protocol_header_is_the_first_data_of_a_connection() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let (listener, address) = listener().await;
        let mut cluster = bare(NAME);
        let inner = Box::new(TransportSocket::Plaintext);
        cluster.transport_socket = TransportSocket::ProxyProtocol { version, inner };
        let client = plain(cluster);
        let all = only(without_sidecar(address));
        let (stream, accepted) = tokio::join!(client.dial(&all), listener.accept());
        let (mut stream, (mut server, from)) = (stream.unwrap(), accepted.unwrap());
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&proxy_protocol::header(version, from, address)[..], b"hello"].concat());
    }
}

#[tokio::test]
async fn a_proxy_protocol_header_precedes_the_tls_handshake() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let (listener, address) = listener().await;
    let mut cluster = testing::explicit_mtls(NAME, &[FORECAST]);
    let inner = Box::new(cluster.transport_socket.clone());
    cluster.transport_socket = TransportSocket::ProxyProtocol { version: ProxyProtocol::V1, inner };
    let client = Client::new(authority.identity(CLIENT), cluster);
    let strip = async {
        let (mut outer, _) = listener.accept().await.unwrap();
        while outer.read_u8().await.unwrap() != b'\n' {}
        let mut inner = TcpStream::connect(server.address).await.unwrap();
        tokio::io::copy_bidirectional(&mut outer, &mut inner).await
    };
    let call = async {
        let mut stream = client.dial_one(address).await.unwrap();
        assert_eq!(stream.connection().peer_name(), Some(FORECAST));
        assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
    };
    let (_, ()) = tokio::join!(strip, call);
}

#[tokio::test]
async fn only_the_tls_versions_that_the_control_plane_allows_are_used() {
    let authority = Authority::new();
    let mut server = Server::start(&authority.identity(FORECAST)).await;
    for (minimum, maximum, spoken) in [
        (Some(TlsVersion::V1_2), Some(TlsVersion::V1_3), Some(rustls::ProtocolVersion::TLSv1_3)),
        (None, Some(TlsVersion::V1_2), Some(rustls::ProtocolVersion::TLSv1_2)),
        (Some(TlsVersion::V1_3), None, Some(rustls::ProtocolVersion::TLSv1_3)),
        (None, Some(TlsVersion::V1_1), None),
    ] {
        let mut cluster = testing::explicit_mtls(NAME, &[FORECAST]);
        let TransportSocket::Tls(context) = &mut cluster.transport_socket else { panic!("not TLS") };
        (context.minimum_version, context.maximum_version) = (minimum, maximum);
        let client = Client::new(authority.identity(CLIENT), cluster);
        match (client.dial_one(server.address).await, spoken) {
            (Ok(mut stream), Some(version)) => {
                echoed(&mut stream).await.unwrap();
                assert_eq!(server.seen().await.version, version);
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report()),
            (dialled, expected) => panic!("{dialled:?}, expected {expected:?}"),
        }
    }
}

/// `danger::log_keys` receives the secrets; without it, no secrets are logged.
#[tokio::test]
async fn secrets_are_logged_only_on_request() {
    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<String>>);
    impl rustls::KeyLog for Log {
        fn log(&self, label: &str, _client_random: &[u8], _secret: &[u8]) {
            self.0.lock().push(label.to_owned());
        }
    }
    let authority = Authority::new();
    let server = Server::start(&authority.identity(FORECAST)).await;
    let log = Arc::new(Log::default());
    let mut client = Client::new(authority.identity(CLIENT), auto_mtls(NAME, &[FORECAST]));
    client.dial_one(server.address).await.unwrap();
    (client.tls, client.entry) = (Arc::new(TlsSettings::new(Some(log.clone()))), Mutex::default());
    client.dial_one(server.address).await.unwrap();
    assert!(log.0.lock().contains(&"CLIENT_TRAFFIC_SECRET_0".to_owned()));
}
