//! Who may be at the other end: checked inside the handshake, before a byte of the application is sent.

use std::{fmt, sync::Arc};

use nds_client::SanMatcher;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::IdentityMismatch;

/// The identities that a service's workloads may have.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// One of these: the service's, from CDS.
    AnyOf(Vec<SanMatcher>),
    /// Any of this trust domain, where CDS names none. Envoy accepts any certificate of the mesh's roots then; this
    /// client is stricter, because roots may be shared by several meshes.
    TrustDomain(String),
}

impl Expected {
    pub(super) fn new(matchers: &[SanMatcher], own_trust_domain: &str) -> Self {
        match matchers {
            [] => Self::TrustDomain(own_trust_domain.to_owned()),
            matchers => Self::AnyOf(matchers.to_vec()),
        }
    }

    fn accepts(&self, name: &str) -> bool {
        match self {
            Self::AnyOf(matchers) => matchers.iter().any(|matcher| matcher.matches(name)),
            Self::TrustDomain(domain) => name
                .strip_prefix("spiffe://")
                .and_then(|rest| rest.strip_prefix(domain))
                .is_some_and(|path| path.starts_with('/')),
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Self::AnyOf(matchers) => matchers.iter().map(text).collect(),
            Self::TrustDomain(domain) => vec![format!("spiffe://{domain}/*")],
        }
    }
}

fn text(matcher: &SanMatcher) -> String {
    match matcher {
        SanMatcher::Contains(text) => format!("*{text}*"),
        SanMatcher::Exact(text) => text.clone(),
        SanMatcher::Prefix(text) => format!("{text}*"),
        SanMatcher::Suffix(text) => format!("*{text}"),
        SanMatcher::Unsupported(text) => format!("{text} (a rule that is not supported and matches nothing)"),
        other => format!("{other:?}"),
    }
}

/// Verifies the chain against the mesh's roots, and the leaf's SPIFFE identity against what is expected. No DNS name
/// is looked at: workload certificates have none.
pub(super) struct PeerVerifier {
    roots: Arc<RootCertStore>,
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(super) fn new(roots: Arc<RootCertStore>, expected: Expected, provider: &CryptoProvider) -> Self {
        Self { roots, expected, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        // The leaf's names only: an intermediate of Istio's plugged-in CAs has a SPIFFE name of its own.
        let presented = uri_names(end_entity);
        // Exactly one URI (SPIFFE X509-SVID §2, §5.2).
        if let [name] = &presented[..]
            && self.expected.accepts(name)
        {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = IdentityMismatch { expected: self.expected.texts(), presented };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// The URI names of a certificate; none where it cannot be read.
pub(crate) fn uri_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, provider};

    const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";

    fn verified(names: &[&str]) -> Result<ServerCertVerified, rustls::Error> {
        let authority = Authority::new();
        let roots = authority.identity(FORECAST).roots().clone();
        let expected = Expected::new(&[SanMatcher::Exact(FORECAST.into())], "cluster.local");
        let verifier = PeerVerifier::new(roots, expected, &provider());
        let (certificate, _) = authority.certificate(names, |_| {});
        let name = ServerName::try_from("any.example").unwrap();
        verifier.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now())
    }

    #[test]
    fn exactly_one_identity_is_accepted() {
        assert!(verified(&[FORECAST]).is_ok());
        let other = "spiffe://cluster.local/ns/weather/sa/other";
        for names in [&[][..], &[FORECAST, other], &[FORECAST, FORECAST]] {
            let Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error)))) =
                verified(names)
            else {
                panic!("{names:?} accepted")
            };
            assert_eq!(error.downcast_ref::<IdentityMismatch>().unwrap().presented, names);
        }
    }

    #[test]
    fn without_expected_names_any_identity_of_the_own_trust_domain_is_accepted() {
        let expected = Expected::new(&[], "cluster.local");
        assert!(expected.accepts("spiffe://cluster.local/ns/weather/sa/forecast"));
        for other in
            ["spiffe://cluster.local.evil/ns/a/sa/b", "spiffe://other/ns/a/sa/b", "cluster.local/", ""]
        {
            assert!(!expected.accepts(other), "{other}");
        }
        assert_eq!(expected.texts(), ["spiffe://cluster.local/*"]);
    }

    #[test]
    fn expected_names_replace_the_trust_domain_rule() {
        let expected = Expected::new(&[SanMatcher::Exact("spiffe://old/ns/a/sa/b".into())], "cluster.local");
        assert!(expected.accepts("spiffe://old/ns/a/sa/b"));
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }

    #[test]
    fn a_rule_that_cannot_be_decided_accepts_nothing() {
        let expected = Expected::new(&[SanMatcher::Unsupported(".*".into())], "cluster.local");
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }
}
