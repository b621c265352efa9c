//! A certificate authority that dates certificates like istiod.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::clock::Clock;

/// istiod dates certificates back by two minutes (istio `security/pkg/pki/util/generate_cert.go`).
const BACKDATED: Duration = Duration::from_secs(120);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pem: String,
    clock: Clock,
}

/// A private key and its certificate in PEM.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str, clock: Clock) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = dated(&clock, YEARS);
        params.distinguished_name.push(DnType::OrganizationName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (root, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(params, key), root, pem, clock }
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }

    pub(crate) fn root_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.root()).unwrap();
        store
    }

    /// Signs the key of a signing request.
    pub(crate) fn sign(&self, csr: &str, identity: &str, ttl: Duration) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params = self.params(SanType::URI(identity.try_into().unwrap()), ttl);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// Issues a key and certificate of a workload.
    pub(crate) fn workload(&self, identity: &str, ttl: Duration) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = self.params(SanType::URI(identity.try_into().unwrap()), ttl);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { chain, key: key.serialize_pem() }
    }

    /// Issues a key and certificate of a server.
    pub(crate) fn server(&self, name: &str, provider: &CryptoProvider) -> CertifiedKey {
        let key = KeyPair::generate().unwrap();
        let params = self.params(SanType::DnsName(name.try_into().unwrap()), YEARS / 2);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        CertifiedKey::from_der(vec![certificate.der().clone()], der, provider).unwrap()
    }

    fn params(&self, name: SanType, ttl: Duration) -> CertificateParams {
        let mut params = dated(&self.clock, ttl);
        params.subject_alt_names = vec![name];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }
}

fn dated(clock: &Clock, ttl: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (clock.now() - BACKDATED).into();
    params.not_after = (clock.now() + ttl).into();
    params
}
