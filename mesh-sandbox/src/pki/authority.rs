//! The self-signed certificate authority of a mesh.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::provider;
use crate::error::{Error, Result};

/// The time by which the validity of a certificate starts before it is issued, for peers with slow clocks (istio
/// `security/pkg/pki/util/generate_cert.go`).
const BACKDATED: Duration = Duration::from_secs(2 * 60);
/// The lifetime of istiod's self-signed root (istio `pilot/pkg/bootstrap/istio_ca.go`).
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The subject of a certificate.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// DNS names, for istiod.
    Names(Vec<String>),
    /// One SPIFFE ID, for a workload.
    Spiffe(String),
}

/// The lifetime of a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetime {
    /// The time from now until the certificate expires.
    For(Duration),
    /// The certificate has expired already. Tests use this fault.
    Expired,
}

/// The certificate authority.
#[derive(Debug)]
pub(crate) struct Authority {
    /// The trust domain, followed by its aliases.
    trust_domains: Vec<String>,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
    ends: SystemTime,
}

impl Authority {
    /// Creates an authority with a new key.
    pub(crate) fn new(trust_domains: Vec<String>) -> Result<Self> {
        let trust_domain = trust_domains.first().map_or("", String::as_str);
        let failed = |error: rcgen::Error| Error::certificate("the mesh's root certificate", error);
        let key = KeyPair::generate().map_err(failed)?;
        let ends = SystemTime::now() + ROOT_LIFETIME;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = (SystemTime::now() - BACKDATED).into();
        params.not_after = ends.into();
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            trust_domains,
            root: certificate.der().clone(),
            root_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            ends,
        })
    }

    /// Returns the trust domain, followed by its aliases.
    pub(crate) fn trust_domains(&self) -> &[String] {
        &self.trust_domains
    }

    pub(crate) fn trust_domain(&self) -> &str {
        self.trust_domains.first().map_or("", String::as_str)
    }

    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Returns the trust anchors of the mesh.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).map_err(|error| Error::certificate("the trust anchors", error))?;
        Ok(Arc::new(roots))
    }

    /// Issues a certificate for client and server authentication, as istiod does (istio
    /// `security/pkg/pki/util/generate_cert.go`).
    pub(crate) fn issue(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        lifetime: Lifetime,
    ) -> Result<rcgen::Certificate> {
        let failed =
            |error: rcgen::Error| Error::certificate(format!("a certificate for {subject:?}"), error);
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = match subject {
            Subject::Names(names) => names
                .iter()
                .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)))
                .collect::<std::result::Result<_, _>>()
                .map_err(failed)?,
            Subject::Spiffe(identity) => vec![SanType::URI(identity.as_str().try_into().map_err(failed)?)],
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let (begins, ends) = match lifetime {
            Lifetime::For(lifetime) => (now - BACKDATED, (now + lifetime).min(self.ends)),
            Lifetime::Expired => (now - 2 * BACKDATED, now - BACKDATED),
        };
        params.not_before = begins.into();
        params.not_after = ends.into();
        params.signed_by(key, &self.issuer).map_err(failed)
    }

    /// Creates a key and a certificate for rustls. In a real mesh, a sidecar gets key and certificate from Istio's
    /// agent.
    pub(crate) fn certified_key(&self, subject: &Subject, lifetime: Lifetime) -> Result<CertifiedKey> {
        let failed =
            |error: &dyn ToString| Error::certificate(format!("a key for {subject:?}"), error.to_string());
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = self.issue(&key, subject, lifetime)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(vec![certificate.der().clone()], der, &provider())
            .map_err(|error| failed(&error))
    }
}
