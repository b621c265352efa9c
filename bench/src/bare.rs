//! A minimal client: tokio-rustls with the same certificate, roots, server name and check of the peer's identity as the
//! mesh, but without any decisions.

use std::{net::SocketAddr, sync::Arc};

use mesh_connector::{Mesh, Target, nds_client::Identity};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::Failure;

/// The parameters of connections to one service.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    address: SocketAddr,
}

impl Bare {
    /// Creates a client with the parameters of the mesh's connection to this target.
    pub(crate) async fn like(mesh: &Mesh, target: &Target) -> Result<Self, Failure> {
        let stream = mesh.connect_to(target).await?;
        let info = stream.connection();
        let identity = mesh.client().identity().current().ok_or("no identity")?;
        let alpn = info.alpn_offered().iter().map(|name| name.clone().into_bytes()).collect();
        let expected = info.peer_name().ok_or("no peer")?.to_owned();
        Ok(Self {
            config: Arc::new(config(&identity, expected, alpn)?),
            server_name: info.sni().ok_or("no SNI")?.to_owned().try_into()?,
            address: info.peer_addr(),
        })
    }

    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(TlsConnector::from(self.config.clone()).connect(self.server_name.clone(), tcp).await?)
    }
}

fn config(identity: &Identity, expected: String, alpn: Vec<Vec<u8>>) -> Result<ClientConfig, Failure> {
    let (provider, roots) = (identity.provider().clone(), identity.roots().clone());
    let signatures = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier { roots, expected, algorithms, signatures };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key().clone())));
    config.alpn_protocols = alpn;
    Ok(config)
}

/// A verifier that checks the chain and searches the certificate for the bytes of one identity, the cheapest possible
/// check.
#[derive(Debug)]
struct Verifier {
    roots: Arc<RootCertStore>,
    expected: String,
    algorithms: WebPkiSupportedAlgorithms,
    /// The verifier of rustls, for everything but names.
    signatures: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let expected = self.expected.as_bytes();
        match leaf.windows(expected.len()).any(|window| window == expected) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
