//! DestinationRules as a real istiod sends them: load balancing, outlier detection, circuit breakers, keepalive, TLS
//! settings, PROXY protocol. The services are outside Kubernetes and have no sidecar.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use mesh_connector::{ErrorKind, Mesh, Transport};
use mesh_tests::peers::RealMesh;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::PrivateKeyDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::common::{self, destination_rule, service_entry};

/// Creates a service with these addresses and this port, and a DestinationRule for it.
async fn service(real: &mut RealMesh, host: &str, addresses: &[String], port: u16, policy: &str) {
    let entry = service_entry(host, addresses, port);
    real.apply("cluster1", &format!("{entry}---\n{}", destination_rule(host, policy))).await;
}

/// Joins, and waits until the client has the cluster of this service.
async fn join(real: &RealMesh, host: &str) -> Mesh {
    let mesh = common::join(real).await;
    let mut clusters = mesh.client().clusters().clone();
    let host = format!("{host}.somedomain");
    let known = clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.has_host(&host)));
    tokio::time::timeout(Duration::from_secs(10), known).await.unwrap().unwrap();
    mesh
}

/// Returns listeners on several addresses with the same port.
async fn listeners(real: &RealMesh, lasts: &[u8]) -> (Vec<TcpListener>, Vec<String>, u16) {
    let mut all: Vec<TcpListener> = Vec::new();
    let mut port = 0;
    for last in lasts {
        let listener = TcpListener::bind((real.ip(2, *last), port)).await.unwrap();
        port = listener.local_addr().unwrap().port();
        all.push(listener);
    }
    let addresses = lasts.iter().map(|last| real.ip(2, *last)).collect();
    (all, addresses, port)
}

pub(crate) async fn endpoints_are_selected_in_turn_and_a_failing_one_is_ejected_by_the_rule() {
    let mut real = RealMesh::start().await;
    let (mut all, addresses, port) = listeners(&real, &[61, 62, 63]).await;
    let policy = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 1, \
                  baseEjectionTime: 20s, maxEjectionPercent: 100}}";
    service(&mut real, "turns", &addresses, port, policy).await;
    let mesh = join(&real, "turns").await;
    let mut seen = BTreeMap::<_, usize>::new();
    for _ in 0..9 {
        let stream = mesh.connect("turns.somedomain", 27018).await.unwrap();
        *seen.entry(stream.connection().peer_addr().ip().to_string()).or_default() += 1;
    }
    assert_eq!(seen, addresses.iter().map(|address| (address.clone(), 3)).collect());
    // One endpoint is stopped: no call fails, and after one failure the endpoint is no longer selected.
    drop(all.remove(0));
    for _ in 0..9 {
        mesh.connect("turns.somedomain", 27018).await.unwrap();
    }
    let status =
        mesh.health().endpoints().into_iter().find(|one| one.endpoint.starts_with(&addresses[0])).unwrap();
    assert_eq!((status.ejections, status.failures), (1, 1), "{status:?}");
    assert!(status.ejected_for > Duration::from_secs(10), "{status:?}");
    let explained = mesh.explain("turns.somedomain", 27018).await.unwrap().to_string();
    assert!(explained.contains("ejected by outlier detection"), "{explained}");
    assert!(
        explained.contains("round robin") && explained.contains("ejects after 1 failures"),
        "{explained}"
    );
}

pub(crate) async fn the_connection_limit_and_keepalive_of_a_rule_are_applied() {
    let mut real = RealMesh::start().await;
    let (_all, addresses, port) = listeners(&real, &[64]).await;
    let policy =
        "{connectionPool: {tcp: {maxConnections: 2, tcpKeepalive: {time: 77s, interval: 7s, probes: 3}}}}";
    service(&mut real, "limited", &addresses, port, policy).await;
    let mesh = join(&real, "limited").await;
    let cluster = mesh.client().clusters().current().unwrap().get("limited.somedomain", 27018, "").unwrap();
    assert_eq!(cluster.tcp_keepalive.unwrap().time, Some(Duration::from_secs(77)));
    let _one = mesh.connect("limited.somedomain", 27018).await.unwrap();
    let two = mesh.connect("limited.somedomain", 27018).await.unwrap();
    let error = mesh.connect("limited.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyConnections, "{}", error.report());
    drop(two);
    mesh.connect("limited.somedomain", 27018).await.unwrap();
}

pub(crate) async fn a_proxy_protocol_header_is_sent_first_if_a_rule_enables_it() {
    for (version, first) in [("V1", &b"PROXY TCP4 "[..]), ("V2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")] {
        let mut real = RealMesh::start().await;
        let (all, addresses, port) = listeners(&real, &[65]).await;
        service(
            &mut real,
            "proxied",
            &addresses,
            port,
            &format!("{{proxyProtocol: {{version: {version}}}}}"),
        )
        .await;
        let mesh = join(&real, "proxied").await;
        let (stream, accepted) = tokio::join!(mesh.connect("proxied.somedomain", 27018), all[0].accept());
        let mut stream = stream.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut read = Vec::new();
        accepted.unwrap().0.read_to_end(&mut read).await.unwrap();
        assert!(read.starts_with(first) && read.ends_with(b"hello"), "{version}: {read:?}");
    }
}

pub(crate) async fn below_the_panic_threshold_ejected_endpoints_are_selected_again() {
    let mut real = RealMesh::start().await;
    let (all, addresses, port) = listeners(&real, &[67, 68, 69]).await;
    let policy = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 1, \
                  baseEjectionTime: 600s, maxEjectionPercent: 100, minHealthPercent: 50}}";
    service(&mut real, "panic", &addresses, port, policy).await;
    let mesh = join(&real, "panic").await;
    let ejected = || {
        let endpoints = mesh.health().endpoints().into_iter();
        endpoints.filter(|endpoint| !endpoint.ejected_for.is_zero()).count()
    };
    // Two endpoints are stopped and ejected. One third is healthy then, which is less than the panic threshold of one
    // half.
    drop(all);
    let _third = TcpListener::bind((addresses[2].as_str(), port)).await.unwrap();
    for _ in 0..9 {
        mesh.connect("panic.somedomain", 27018).await.unwrap();
    }
    assert_eq!(ejected(), 2);
    let _first = TcpListener::bind((addresses[0].as_str(), port)).await.unwrap();
    let mut seen = BTreeMap::<_, usize>::new();
    for _ in 0..9 {
        let stream = mesh.connect("panic.somedomain", 27018).await.unwrap();
        *seen.entry(stream.connection().peer_addr().ip().to_string()).or_default() += 1;
    }
    assert!(seen.contains_key(&addresses[0]), "{seen:?}");
    assert_eq!(ejected(), 2, "still ejected, and selected anyway");
}

pub(crate) async fn the_warm_up_and_the_connection_limits_of_a_rule_are_applied() {
    let mut real = RealMesh::start().await;
    let (_all, addresses, port) = listeners(&real, &[70]).await;
    let policy = "{loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 60s, minimumPercent: 25, aggression: 2}}, \
                  connectionPool: {tcp: {maxConnectionDuration: 300s}, http: {idleTimeout: 7s, maxRequestsPerConnection: 9}}}";
    service(&mut real, "warm", &addresses, port, policy).await;
    let mesh = join(&real, "warm").await;
    let cluster = mesh.client().clusters().current().unwrap().get("warm.somedomain", 27018, "").unwrap();
    let warm_up = cluster.load_balancing.slow_start.unwrap();
    assert_eq!(warm_up.window, Duration::from_secs(60));
    assert!((warm_up.minimum_percent - 25.0).abs() < f64::EPSILON, "{warm_up:?}");
    assert!((warm_up.aggression - 2.0).abs() < f64::EPSILON, "{warm_up:?}");
    let life = cluster.connection_limits;
    assert_eq!(life.idle_timeout, Some(Duration::from_secs(7)));
    assert_eq!(life.max_duration, Some(Duration::from_secs(300)));
    assert_eq!(life.max_requests, Some(9));
}

pub(crate) async fn a_service_with_resolution_none_is_connected_to_at_the_requested_address_and_target_port()
{
    let mut real = RealMesh::start().await;
    let (_all, addresses, port) = listeners(&real, &[71]).await;
    let entry = service_entry("anywhere", &[], port)
        .replace("  resolution: STATIC\n", &format!("  resolution: NONE\n  addresses: [{}]\n", addresses[0]))
        .replace("  endpoints: []\n", "");
    real.apply("cluster1", &entry).await;
    let mesh = join(&real, "anywhere").await;
    for host in ["anywhere.somedomain", &addresses[0]] {
        let stream = mesh.connect(host, 27018).await.unwrap();
        assert_eq!(stream.connection().peer_addr().to_string(), format!("{}:{port}", addresses[0]), "{host}");
        assert_eq!(stream.connection().transport(), Transport::Plaintext);
    }
}

/// TLS mode SIMPLE, and MUTUAL with a certificate in files.
pub(crate) async fn the_tls_of_a_rule_uses_the_roots_in_its_file_and_rejects_another_name() {
    const NAME: &str = "api.example.test";
    let mut real = RealMesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (simple, mutual) = Outside::new(dir.path()).servers(NAME);
    let (mut all, addresses, port) = listeners(&real, &[66, 67]).await;
    for (acceptor, listener) in [mutual, simple].into_iter().zip(all.drain(..).rev()) {
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    let presented = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                    stream.write_all(format!("{presented} presented").as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                }
            }
        });
    }
    let tls = |mode: &str, sni: &str| {
        let [roots, certificate, key] = ["roots", "client", "client-key"]
            .map(|name| dir.path().join(name).display().to_string() + ".pem");
        let files = match mode {
            "MUTUAL" => format!(", clientCertificate: {certificate}, privateKey: {key}"),
            _ => String::new(),
        };
        format!("{{tls: {{mode: {mode}, sni: {sni}, caCertificates: {roots}{files}}}}}")
    };
    let (first, second) = addresses.split_at(1);
    service(&mut real, "simple", first, port, &tls("SIMPLE", NAME)).await;
    service(&mut real, "mutual", second, port, &tls("MUTUAL", NAME)).await;
    service(&mut real, "unknown", second, port, &tls("SIMPLE", NAME)).await;
    service(&mut real, "wrong", first, port, &tls("SIMPLE", "other.example.test")).await;
    let mesh = join(&real, "wrong").await;
    for (host, presented) in [("simple", "0 presented"), ("mutual", "1 presented")] {
        let mut stream = mesh.connect(&format!("{host}.somedomain"), 27018).await.unwrap();
        assert_eq!(
            (stream.connection().transport(), stream.connection().peer_name()),
            (Transport::Tls, Some(NAME))
        );
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, presented);
    }
    // Without a client certificate, the server that requires one rejects the connection: with TLS 1.3, at the first
    // read.
    let mut stream = mesh.connect("unknown.somedomain", 27018).await.unwrap();
    stream.read_to_string(&mut String::new()).await.unwrap_err();
    let error = mesh.connect("wrong.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    let error = mesh.requiring_mtls().connect("simple.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
}

/// A CA outside the mesh. Its root and a client certificate are in files.
struct Outside {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Outside {
    fn new(dir: &Path) -> Self {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&root_key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let issuer = Issuer::new(params, root_key);
        let client = CertificateParams::new(["client.example.test".to_owned()]).unwrap();
        let client = client.signed_by(&key, &issuer).unwrap();
        for (name, pem) in
            [("roots", root.pem()), ("client", client.pem()), ("client-key", key.serialize_pem())]
        {
            fs::write(dir.join(name).with_extension("pem"), pem).unwrap();
        }
        Self { issuer, roots }
    }

    /// Returns a TLS server with this name that requires no client certificate, and one that does.
    fn servers(&self, name: &str) -> (TlsAcceptor, TlsAcceptor) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone().into(), provider);
        (
            self.server(name, WebPkiClientVerifier::no_client_auth()),
            self.server(name, verifier.build().unwrap()),
        )
    }

    fn server(&self, name: &str, clients: Arc<dyn ClientCertVerifier>) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_client_cert_verifier(clients);
        Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap()).into()
    }
}
