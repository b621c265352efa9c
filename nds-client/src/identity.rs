//! Who this process is in the mesh: key, certificate chain, roots.

mod certificate;
mod csr;
pub(crate) mod keeper;
mod renewal;
mod token;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

pub(crate) use self::{csr::SigningRequest, renewal::renewal_delay, token::Token};
use crate::{Error, ErrorKind, SpiffeId};

/// A workload identity as it was issued: one value, replaced as a whole when it is renewed.
#[derive(Clone)]
pub struct Identity {
    spiffe_id: SpiffeId,
    certified_key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    root_certificates: Vec<CertificateDer<'static>>,
    not_before: SystemTime,
    not_after: SystemTime,
    provider: Arc<CryptoProvider>,
    epoch: u64,
}

impl Identity {
    /// An identity from PEM texts: the chain leaf first, the key in PKCS#8, SEC1 or PKCS#1, the roots of the mesh.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`]: a text is not PEM, the leaf carries no SPIFFE identity of Istio's form, or the key
    /// is not the leaf's.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        roots: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = certificates(chain, "the certificate chain")?;
        let roots = certificates(roots, "the roots")?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| Error::new(ErrorKind::Credentials, "the private key is not a key in PEM"))?;
        Self::new(chain, key, &roots, provider)
    }

    /// An identity from a chain, leaf first, without roots.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let leaf = certificate::Leaf::parse(chain.first())?;
        let certified_key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            let message = format!("the private key is not the one of the certificate of {}", leaf.spiffe_id);
            Error::with_source(ErrorKind::Credentials, message, error)
        })?;
        let roots = distinct(roots);
        Ok(Self {
            spiffe_id: leaf.spiffe_id,
            certified_key: Arc::new(certified_key),
            roots: Arc::new(root_store(&roots)?),
            root_certificates: roots,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            provider,
            epoch: 0,
        })
    }

    pub(crate) fn with_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// The name in the certificate. Its trust domain is the mesh's.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The chain to present, leaf first and without roots, and its key.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// What peers' certificates must chain up to: the roots of the configuration and of the last issuance together.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    pub(crate) fn root_certificates(&self) -> &[CertificateDer<'static>] {
        &self.root_certificates
    }

    /// When the certificate begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How long the certificate is valid from `now`; zero when it has ended.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// The crypto provider that the configuration chose.
    #[must_use]
    pub fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Counts the identities of this process: a renewal has a higher one. What was derived from another epoch
    /// (TLS configurations, pools) must not be used further.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("spiffe_id", &self.spiffe_id.as_str())
            .field("not_after", &self.not_after)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// The certificates of a PEM text, at least one.
pub(crate) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::new(ErrorKind::Credentials, format!("{what}: no certificate in PEM"))),
        Err(error) => Err(Error::with_source(ErrorKind::Credentials, format!("{what}: not PEM"), error)),
    }
}

/// The certificates, each once.
fn distinct(certificates: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    let first = |(at, one): (usize, &CertificateDer<'static>)| {
        (!certificates[..at].contains(one)).then(|| one.clone())
    };
    certificates.iter().enumerate().filter_map(first).collect()
}

/// A store of these roots, each once.
pub(crate) fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in distinct(roots) {
        store.add(root).map_err(|error| {
            Error::with_source(ErrorKind::Credentials, "a root certificate cannot be used", error)
        })?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests;
