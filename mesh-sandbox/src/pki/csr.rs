//! Reads a certificate signing request as istiod does: it checks the signature, uses the public key, and ignores all
//! other fields (istio `security/pkg/pki/ca/ca.go`).

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// Returns the public key of a request with a valid signature. The error texts are the same as in istiod.
pub(crate) fn verified_key(pem: &str) -> Result<SubjectPublicKeyInfo, String> {
    let unparsable = || "failed to parse X.509 certificate signing request".to_owned();
    // The first PEM block, whatever its label.
    let (_, block) = parse_x509_pem(pem.as_bytes())
        .map_err(|_| "certificate signing request is not properly encoded".to_owned())?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|_| unparsable())?;
    request
        .verify_signature()
        .map_err(|error| format!("the signature of the request is invalid: {error}"))?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|error| format!("unsupported key: {error}"))
}
