//! Verifies the peer inside the handshake, before application data is sent.

use std::{fmt, sync::Arc};

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

use super::names::{ExpectedNames, NameCheck};
use crate::error::IdentityMismatch;

/// Verifies the certificate chain against the roots, and the names of the leaf against the expected names. For peers in
/// the mesh, only the SPIFFE ID is compared, because workload certificates have no DNS names.
pub(super) struct PeerVerifier {
    roots: Arc<RootCertStore>,
    expected: ExpectedNames,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(super) fn new(roots: Arc<RootCertStore>, expected: ExpectedNames, provider: &CryptoProvider) -> Self {
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
        // Check only the names of the leaf certificate: an intermediate certificate of an Istio plug-in CA has its own
        // SPIFFE ID.
        match self.expected.check(end_entity)? {
            NameCheck::Accepted => Ok(ServerCertVerified::assertion()),
            NameCheck::Rejected(presented) => {
                let mismatch = IdentityMismatch { expected: self.expected.texts(), presented };
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
        }
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

#[cfg(test)]
mod tests {
    use nds_client::resources::cluster::SanMatcher;

    use super::*;
    use crate::testing::{Authority, provider};

    const FORECAST: &str = "spiffe://cluster.local/ns/weather/sa/forecast";

    fn verified(names: &[&str]) -> Result<ServerCertVerified, rustls::Error> {
        let authority = Authority::new();
        let roots = authority.identity(FORECAST).roots().clone();
        let expected = ExpectedNames::workload(&[SanMatcher::Exact(FORECAST.into())], "cluster.local");
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
}
