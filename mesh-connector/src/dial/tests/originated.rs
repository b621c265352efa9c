//! TLS with roots and certificates in files of a DestinationRule (SIMPLE, MUTUAL).

use std::{fs, path::Path};

use nds_client::resources::cluster::{
    ClientCertificate as Certificate, SanMatcher, TlsContext, TransportSocket, ValidationContext as Roots,
};
use rcgen::SanType;
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    target::Host,
    testing::{bare, provider},
};

const HOST: &str = "api.example.test";

/// An authority outside the mesh, with its files.
struct Outside {
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("root.pem"), authority.root()).unwrap();
        let (certificate, key) = authority.certificate(&["spiffe://outside/client"], |_| {});
        fs::write(dir.path().join("client.pem"), certificate.pem()).unwrap();
        fs::write(dir.path().join("client.key"), key.serialize_pem()).unwrap();
        Self { authority, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn roots(&self) -> Roots {
        Roots::Named(format!("file-root:{}", self.path("root.pem")))
    }

    /// Starts an echo server with a certificate for these names. Returns its address and a receiver of the SNIs that it
    /// receives.
    async fn server(
        &self,
        names: &[&str],
        client_auth: bool,
    ) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Option<String>>) {
        let (certificate, key) = self.authority.certificate(&[], |params| {
            let name = |name: &&str| match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            };
            params.subject_alt_names = names.iter().map(name).collect();
        });
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match client_auth {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                let identity = self.authority.identity("spiffe://outside/ns/a/sa/b");
                roots.roots.clone_from(&identity.roots().roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (tell, seen) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        let _ = tell.send(stream.get_ref().1.server_name().map(str::to_owned));
                        let (mut read, mut write) = tokio::io::split(stream);
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                    }
                });
            }
        });
        (address, seen)
    }
}

fn cluster(sni: Option<&str>, roots: Roots, certificate: Certificate, names: &[SanMatcher]) -> Cluster {
    let mut context = TlsContext::default();
    (context.roots, context.certificate) = (roots, certificate);
    (context.sni, context.subject_alt_names) = (sni.map(Into::into), names.to_vec());
    let mut cluster = bare(NAME);
    cluster.tls_origination = true;
    cluster.transport_socket = TransportSocket::Tls(context);
    cluster
}

fn client(cluster: Cluster) -> Client {
    Client::new(Authority::new().identity(CLIENT), cluster)
}

/// Returns an endpoint without `tlsMode`, like those outside the mesh.
fn only_at(address: SocketAddr) -> Endpoints {
    let mut endpoint = testing::endpoint(address);
    endpoint.transport_match.clear();
    only(endpoint)
}

#[tokio::test]
async fn mode_simple_verifies_the_server_with_roots_from_a_file_and_sends_no_certificate() {
    let outside = Outside::new();
    let (address, mut seen) = outside.server(&[HOST], false).await;
    let client = client(cluster(Some(HOST), outside.roots(), Certificate::None, &[]));
    let mut stream = client.dial(&only_at(address)).await.unwrap();
    assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
    let info = stream.connection();
    assert_eq!((info.transport(), info.sni(), info.peer_name()), (Transport::Tls, Some(HOST), Some(HOST)));
    assert_eq!(info.peer(), None, "not a mesh identity");
    assert!(info.alpn_offered().is_empty());
    assert_eq!(seen.recv().await.unwrap().as_deref(), Some(HOST));
}

#[tokio::test]
async fn mode_mutual_sends_the_certificate_from_the_files() {
    let outside = Outside::new();
    let (address, _seen) = outside.server(&[HOST], true).await;
    let files = format!("file-cert:{}~{}", outside.path("client.pem"), outside.path("client.key"));
    let mutual = client(cluster(Some(HOST), outside.roots(), Certificate::Named(files), &[]));
    let mut stream = mutual.dial(&only_at(address)).await.unwrap();
    assert_eq!(echoed(&mut stream).await.unwrap(), *b"ping");
    let simple = client(cluster(Some(HOST), outside.roots(), Certificate::None, &[]));
    let mut stream = simple.dial(&only_at(address)).await.unwrap();
    assert!(echoed(&mut stream).await.is_err());
}

#[tokio::test]
async fn a_wrong_name_or_root_is_rejected_and_the_error_names_both_sides() {
    let outside = Outside::new();
    let (address, _seen) = outside.server(&["other.example.test"], false).await;
    let client_of =
        |roots, names: &[SanMatcher]| client(cluster(Some(HOST), roots, Certificate::None, names));
    let error = client_of(outside.roots(), &[]).dial(&only_at(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    let mismatch = error.identity_mismatch().unwrap();
    assert_eq!(
        (&mismatch.expected, &mismatch.presented),
        (&vec![HOST.to_owned()], &vec!["other.example.test".to_owned()])
    );
    // The names in the rule replace the server name.
    let other = [SanMatcher::Exact("other.example.test".into())];
    client_of(outside.roots(), &other).dial(&only_at(address)).await.unwrap();
    let elsewhere = Outside::new();
    let error = client_of(elsewhere.roots(), &other).dial(&only_at(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerIdentity, "{}", error.report());
    assert!(error.identity_mismatch().is_none());
}

/// Envoy checks the names of the rule in addition to the server name.
#[tokio::test]
async fn auto_san_validation_requires_the_server_name_and_a_name_of_the_rule() {
    let outside = Outside::new();
    let other = "other.example.test";
    for (names, is_accepted) in [(&[HOST][..], false), (&[other], false), (&[HOST, other], true)] {
        let (address, _seen) = outside.server(names, false).await;
        let rule = [SanMatcher::Exact(other.into())];
        let mut cluster = cluster(Some(HOST), outside.roots(), Certificate::None, &rule);
        cluster.auto_san_validation = true;
        let outcome = client(cluster).dial(&only_at(address)).await;
        assert_eq!(outcome.is_ok(), is_accepted, "{names:?}");
        if let Err(error) = outcome {
            assert_eq!(
                error.identity_mismatch().unwrap().expected,
                ["api.example.test and other.example.test"]
            );
        }
    }
}

#[tokio::test]
async fn a_wildcard_certificate_matches_the_expected_name() {
    let outside = Outside::new();
    let (address, _seen) = outside.server(&["*.example.test"], false).await;
    for names in [&[][..], &[SanMatcher::Exact(HOST.into())]] {
        let client = client(cluster(Some(HOST), outside.roots(), Certificate::None, names));
        client.dial(&only_at(address)).await.unwrap();
    }
    let deeper = [SanMatcher::Exact("a.api.example.test".into())];
    let client = client(cluster(Some(HOST), outside.roots(), Certificate::None, &deeper));
    assert!(client.dial(&only_at(address)).await.is_err());
}

#[tokio::test]
async fn without_a_configured_sni_the_requested_host_is_sent_and_verified() {
    let outside = Outside::new();
    let (address, mut seen) = outside.server(&["forecast.weather", "127.0.0.9"], false).await;
    let client = client(cluster(None, outside.roots(), Certificate::None, &[]));
    let stream = client.dial(&only_at(address)).await.unwrap();
    assert_eq!(stream.connection().sni(), Some("forecast.weather"));
    assert_eq!(seen.recv().await.unwrap().as_deref(), Some("forecast.weather"));
    let stream = client.dial_as(Host::Ip([127, 0, 0, 9].into()), &only_at(address)).await.unwrap();
    assert_eq!(stream.connection().sni(), None);
    assert_eq!(seen.recv().await.unwrap(), None, "no SNI for an address");
    assert!(client.dial_as(Host::Ip([127, 0, 0, 8].into()), &only_at(address)).await.is_err());
}

#[tokio::test]
async fn changed_files_are_read_again() {
    let (old, new) = (Outside::new(), Outside::new());
    let (address, _seen) = new.server(&[HOST], false).await;
    let client = client(cluster(Some(HOST), old.roots(), Certificate::None, &[]));
    assert!(client.dial(&only_at(address)).await.is_err());
    let replaced = old.dir.path().join("next.pem");
    fs::copy(new.dir.path().join("root.pem"), &replaced).unwrap();
    fs::rename(replaced, old.dir.path().join("root.pem")).unwrap();
    client.dial(&only_at(address)).await.unwrap();
}

/// A test cannot know the roots of the system, but they do not include the root of the test.
#[tokio::test]
async fn a_server_with_an_unknown_root_is_rejected_under_system_roots() {
    let outside = Outside::new();
    let (address, _seen) = outside.server(&[HOST], false).await;
    let client = client(cluster(Some(HOST), Roots::Named("file-root:system".into()), Certificate::None, &[]));
    let error = client.dial(&only_at(address)).await.unwrap_err();
    // On a host without CA certificates, the roots themselves are missing.
    assert!(matches!(error.kind(), ErrorKind::PeerIdentity | ErrorKind::Credentials), "{}", error.report());
}

#[tokio::test]
async fn an_error_about_files_names_them() {
    let outside = Outside::new();
    fs::write(outside.dir.path().join("empty.pem"), "nothing").unwrap();
    let missing = Path::new("/nowhere/root.pem").display().to_string();
    for path in [outside.path("empty.pem"), outside.path("client.key"), missing] {
        let roots = Roots::Named(format!("file-root:{path}"));
        let client = client(cluster(Some(HOST), roots, Certificate::None, &[]));
        let error = client.dial(&only_at(Server::nobody().await)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials, "{}", error.report());
        assert!(error.to_string().contains(&path), "{error}");
    }
    let roots = Roots::Named("kubernetes://secret".into());
    let client = client(cluster(Some(HOST), roots, Certificate::None, &[]));
    let error = client.dial(&only_at(Server::nobody().await)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("kubernetes://secret"), "{error}");
}
