//! Generates a private key and its certificate signing request.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType, string::Ia5String};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    config::KeyType,
    error::{Error, ErrorKind},
};

/// A new private key and a certificate signing request for it. The key exists only in memory.
pub(crate) struct SigningRequest {
    pub(crate) pem: String,
    key: KeyPair,
}

impl SigningRequest {
    /// Creates a private key and a request for it. istiod ignores the names in the request and certifies the identity
    /// that the client has authenticated; it requires an empty common name (istio `security/pkg/server/ca/server.go`,
    /// `security/pkg/pki/util/generate_cert.go`).
    pub(crate) fn new(namespace: &str, service_account: &str, key_type: KeyType) -> Result<Self, Error> {
        let failed = |error| {
            Error::with_source(
                ErrorKind::Credentials,
                "the private key and its signing request cannot be generated",
                error,
            )
        };
        let key = generate(key_type).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // istiod replaces this URI by the authenticated identity, whose trust domain this client does not know.
        let uri = format!("spiffe://cluster.local/ns/{namespace}/sa/{service_account}");
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).map_err(failed)?)];
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
        Ok(Self { pem, key })
    }

    pub(crate) fn into_key(self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn generate(key_type: KeyType) -> Result<KeyPair, rcgen::Error> {
    match key_type {
        KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => rsa(2048),
        KeyType::Rsa3072 => rsa(3072),
        KeyType::Rsa4096 => rsa(4096),
    }
}

#[cfg(feature = "aws-lc-rs")]
fn rsa(bits: u16) -> Result<KeyPair, rcgen::Error> {
    use rcgen::RsaKeySize;
    let size = match bits {
        2048 => RsaKeySize::_2048,
        3072 => RsaKeySize::_3072,
        _ => RsaKeySize::_4096,
    };
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)
}

/// ring cannot generate RSA keys.
#[cfg(not(feature = "aws-lc-rs"))]
fn rsa(_: u16) -> Result<KeyPair, rcgen::Error> {
    Err(rcgen::Error::KeyGenerationUnavailable)
}
