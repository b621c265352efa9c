//! A certificate authority per test.

use std::sync::Arc;

use nds_client::Identity;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::crypto::CryptoProvider;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// The root certificate in PEM format.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.issue(name, &self.root, |_| {})
    }

    /// Issues an identity that trusts both roots.
    pub(crate) fn identity_with(&self, name: &str, other: &Self) -> Identity {
        self.issue(name, &format!("{}{}", self.root, other.root), |_| {})
    }

    /// Issues one certificate as two identities: with the own root, and with the root of another authority.
    pub(crate) fn one_certificate_two_roots(&self, name: &str, other: &Self) -> [Identity; 2] {
        let (certificate, key) = self.certificate(&[name], |_| {});
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        [self, other].map(|roots| {
            Identity::from_pem(chain.as_bytes(), key.as_bytes(), roots.root.as_bytes(), provider()).unwrap()
        })
    }

    /// Issues an identity with the given crypto provider.
    #[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
    pub(crate) fn identity_by(&self, name: &str, provider: CryptoProvider) -> Identity {
        let (certificate, key) = self.certificate(&[name], |_| {});
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), self.root.as_bytes(), provider.into()).unwrap()
    }

    /// Issues an identity with an expired certificate.
    pub(crate) fn expired_identity(&self, name: &str) -> Identity {
        self.issue(name, &self.root, |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1))
    }

    fn issue(&self, name: &str, roots: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (certificate, key) = self.certificate(&[name], change);
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes(), provider()).unwrap()
    }

    /// Issues a workload certificate with these URI names.
    pub(crate) fn certificate(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}
