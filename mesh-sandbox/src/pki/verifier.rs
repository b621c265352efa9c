//! The verification of client certificates by istiod and sidecars, during the TLS handshake.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{provider, spiffe};
use crate::error::{Error, Result};

/// Whether a client must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// istiod accepts a certificate or a token, but an invalid certificate fails the handshake (istio
    /// `security/pkg/server/ca/authenticate/cert_authenticator.go`).
    Optional,
    /// The mTLS filter chain of a sidecar requires a certificate (istio `pilot/pkg/security/authn/utils/utils.go`).
    Required,
}

/// A verifier that checks the client's certificate chain, then the identity in the certificate.
#[derive(Debug)]
pub(crate) struct MeshClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust_domains: Vec<String>,
    demand: Demand,
}

impl MeshClientVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        trust_domains: &[String],
        demand: Demand,
    ) -> Result<Arc<Self>> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let builder = match demand {
            Demand::Optional => builder.allow_unauthenticated(),
            Demand::Required => builder,
        };
        let chain = builder.build().map_err(|error| Error::certificate("the client verifier", error))?;
        Ok(Arc::new(Self { chain, trust_domains: trust_domains.to_vec(), demand }))
    }

    fn is_known(&self, uri: &str) -> bool {
        self.trust_domains.iter().any(|domain| spiffe::is_of(uri, domain))
    }

    /// Checks the identity in a certificate. istiod requires exactly one URI name, in its trust domain (not an alias),
    /// and a certificate with serverAuth (istio `pkg/spiffe/spiffe.go`). A sidecar requires at least one URI name in
    /// the trust domain or an alias (istio `pilot/pkg/security/model/authentication.go`).
    fn check_identity(&self, certificate: &CertificateDer<'_>) -> std::result::Result<(), rustls::Error> {
        let uris = spiffe::uris(certificate);
        let refused = match self.demand {
            Demand::Optional => match uris.as_slice() {
                [uri] => !self.is_known(uri) || !is_for_servers(certificate),
                _ => true,
            },
            Demand::Required => !uris.iter().any(|uri| self.is_known(uri)),
        };
        if refused {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }
}

impl ClientCertVerifier for MeshClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.check_identity(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn is_for_servers(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    }
}
