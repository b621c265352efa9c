//! The key of this process and the request to certify it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType, string::Ia5String};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{Error, ErrorKind};

/// A fresh key and a request for it. The key exists in memory only.
pub(crate) struct SigningRequest {
    pub(crate) pem: String,
    key: KeyPair,
}

impl SigningRequest {
    /// A P-256 key. istiod ignores the names in the request and issues for who asks; it wants the common name empty
    /// (istio `security/pkg/server/ca/server.go`, `security/pkg/pki/util/generate_cert.go`).
    pub(crate) fn new(namespace: &str, service_account: &str) -> Result<Self, Error> {
        let failed = |error| {
            Error::with_source(ErrorKind::Credentials, "no key and signing request could be made", error)
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The trust domain is the mesh's to say; istiod replaces the name.
        let uri = format!("spiffe://cluster.local/ns/{namespace}/sa/{service_account}");
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).map_err(failed)?)];
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
        Ok(Self { pem, key })
    }

    pub(crate) fn into_key(self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}
