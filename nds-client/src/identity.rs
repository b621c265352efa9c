//! Who this process is in the mesh: key, certificate chain, roots.

pub(crate) mod credentials;
mod csr;
mod files;
mod leaf;
mod roots;
mod store;
mod token;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sidestep_util::pem;

pub(crate) use self::{
    csr::SigningRequest,
    files::{FileContents, named},
    roots::{certificates, root_store},
    store::IdentityStore,
    token::Token,
};
use crate::{
    error::{Error, ErrorKind},
    resources::spiffe::SpiffeId,
};

/// A workload identity as it was issued: one value, replaced as a whole when it is renewed.
#[derive(Clone)]
pub struct Identity {
    spiffe_id: SpiffeId,
    certified_key: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
    roots: Arc<RootCertStore>,
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
        let roots = certificates(roots, "the roots")?;
        Self::from_pem_pair(chain, key, provider)?.with_roots(&roots)
    }

    /// The same without roots.
    pub(crate) fn from_pem_pair(
        chain: &[u8],
        key: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = certificates(chain, "the certificate chain")?;
        let key = pem::private_key(key).map_err(|error| {
            Error::with_source(ErrorKind::Credentials, "the private key is not a key in PEM", error)
        })?;
        Self::new(chain, key, provider)
    }

    /// An identity from a chain, leaf first and without roots.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let leaf = leaf::Leaf::parse(chain.first())?;
        let certified_key = CertifiedKey::from_der(chain, key.clone_key(), &provider).map_err(|error| {
            let message = format!("the private key is not the one of the certificate of {}", leaf.spiffe_id);
            Error::with_source(ErrorKind::Credentials, message, error)
        })?;
        Ok(Self {
            spiffe_id: leaf.spiffe_id,
            certified_key: Arc::new(certified_key),
            key: Arc::new(key),
            roots: Arc::new(RootCertStore::empty()),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            provider,
            epoch: 0,
        })
    }

    pub(crate) fn with_roots(self, roots: &[CertificateDer<'static>]) -> Result<Self, Error> {
        Ok(Self { roots: Arc::new(root_store(roots)?), ..self })
    }

    pub(crate) fn with_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// The key, to be kept where only this user reads it.
    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
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

    /// What peers' certificates must chain up to: the roots of the configuration, those that came with the last
    /// certificate, and those that istiod last pushed, together.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
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

    /// Counts the identities of this process: another certificate, and other roots, have a higher one. What was derived
    /// from another epoch (TLS configurations, pools) must not be used further.
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

#[cfg(test)]
mod tests;
