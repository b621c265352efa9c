//! What DestinationRules say about connections, as a real istiod passes it on: balancing, ejection, limits, keepalive, TLS
//! of their own, PROXY protocol. The services are outside of Kubernetes and have no sidecar.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use mesh_connector::{Config, ErrorKind, Mesh, Transport};
use mesh_tests::{peers::RealMesh, vm_files::Vm};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A service at these addresses and port, and what a DestinationRule says about it.
async fn service(real: &mut RealMesh, host: &str, addresses: &[String], port: u16, policy: &str) {
    let endpoints: Vec<_> = addresses.iter().map(|address| format!("{{address: {address}}}")).collect();
    let yaml = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}, namespace: weather}}
spec:
  hosts: [{host}.somedomain]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 27018, name: tcp, protocol: TCP, targetPort: {port}}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: weather}}
spec:
  host: {host}.somedomain
  trafficPolicy: {policy}
",
        endpoints.join(", ")
    );
    real.apply("cluster1", &yaml).await;
}

async fn join(real: &RealMesh, host: &str) -> Mesh {
    let mesh = Mesh::join(Config::from_vm_files(real.vm_files(&Vm::default())).unwrap()).await.unwrap();
    let patience = Duration::from_secs(10);
    mesh.client().clusters(patience).await.unwrap();
    let known = async {
        while !mesh.client().try_clusters().unwrap().has_host(&format!("{host}.somedomain")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, known).await.unwrap();
    mesh
}

/// Listeners on several addresses, on the same port.
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

pub(crate) async fn endpoints_come_in_turn_and_one_that_fails_is_ejected_as_the_rule_says() {
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
    // One goes away: nobody notices, and after one failure it is asked no more.
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

pub(crate) async fn a_rules_limit_of_connections_and_its_keepalive_hold() {
    let mut real = RealMesh::start().await;
    let (_all, addresses, port) = listeners(&real, &[64]).await;
    let policy =
        "{connectionPool: {tcp: {maxConnections: 2, tcpKeepalive: {time: 77s, interval: 7s, probes: 3}}}}";
    service(&mut real, "limited", &addresses, port, policy).await;
    let mesh = join(&real, "limited").await;
    let cluster = mesh.client().try_clusters().unwrap().get("limited.somedomain", 27018, "").unwrap();
    assert_eq!(cluster.tcp_keepalive.unwrap().time, Some(Duration::from_secs(77)));
    let _one = mesh.connect("limited.somedomain", 27018).await.unwrap();
    let two = mesh.connect("limited.somedomain", 27018).await.unwrap();
    let error = mesh.connect("limited.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyConnections, "{}", error.report());
    drop(two);
    mesh.connect("limited.somedomain", 27018).await.unwrap();
}

pub(crate) async fn a_proxy_protocol_header_comes_first_where_a_rule_asks_for_it() {
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

pub(crate) async fn tls_of_a_rule_is_made_with_the_roots_in_its_file_and_another_name_is_refused() {
    const NAME: &str = "api.example.test";
    let mut real = RealMesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    let acceptor = tls_server(NAME, &roots);
    let (mut all, addresses, port) = listeners(&real, &[66]).await;
    let listener = all.remove(0);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                stream.write_all(b"hello").await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    let tls =
        |sni: &str| format!("{{tls: {{mode: SIMPLE, sni: {sni}, caCertificates: {}}}}}", roots.display());
    service(&mut real, "simple", &addresses, port, &tls(NAME)).await;
    service(&mut real, "wrong", &addresses, port, &tls("other.example.test")).await;
    let mesh = join(&real, "wrong").await;
    let mut stream = mesh.connect("simple.somedomain", 27018).await.unwrap();
    assert_eq!(
        (stream.connection().transport(), stream.connection().peer_name()),
        (Transport::Tls, Some(NAME))
    );
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
    let error = mesh.connect("wrong.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    let error = mesh.requiring_mtls().connect("simple.somedomain", 27018).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
}

/// A server with a certificate for `name`, whose root goes to a file.
fn tls_server(name: &str, roots: &std::path::Path) -> TlsAcceptor {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(roots, params.self_signed(&root_key).unwrap().pem()).unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, root_key)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    Arc::new(config).into()
}
