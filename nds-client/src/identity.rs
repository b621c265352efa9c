//! The identity of this process in the mesh: private key, certificate chain, roots.

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
use zeroize::Zeroizing;

pub(crate) use self::{
    csr::SigningRequest,
    files::{FileContents, with_file_names},
    roots::{certificates, root_store},
    store::IdentityStore,
    token::Token,
};
use crate::{
    error::{Error, ErrorKind},
    resources::spiffe_id::SpiffeId,
};

/// The identity of a workload as issued: certificate chain, private key and trusted roots. A renewal creates a new
/// value.
#[derive(Clone)]
pub struct Identity {
    spiffe_id: SpiffeId,
    certified_key: Arc<CertifiedKey>,
    /// The private key, for the state directory. It is erased when the last clone is dropped.
    key: Arc<Zeroizing<PrivateKeyDer<'static>>>,
    roots: Arc<RootCertStore>,
    not_before: SystemTime,
    not_after: SystemTime,
    provider: Arc<CryptoProvider>,
    epoch: u64,
}

impl Identity {
    /// Creates an identity from PEM texts: the chain with the leaf first, the key in PKCS#8, SEC1 or PKCS#1, the roots
    /// of the mesh.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if a text is not PEM, the leaf has no SPIFFE ID in Istio's form, or the key does not
    /// match the leaf.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        roots: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let roots = certificates(roots, "the roots")?;
        Self::from_pem_pair(chain, key, provider)?.with_roots(&roots)
    }

    /// Creates an identity without roots from PEM texts.
    pub(crate) fn from_pem_pair(
        chain: &[u8],
        key: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = certificates(chain, "the certificate chain")?;
        let key = pem::private_key(key).map_err(|error| {
            Error::with_source(
                ErrorKind::Credentials,
                "the private key is not valid PEM: use PKCS#8, SEC1 or PKCS#1",
                error,
            )
        })?;
        Self::new(chain, key, provider)
    }

    /// Creates an identity without roots. The chain starts with the leaf.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let key = Zeroizing::new(key);
        let leaf = leaf::Leaf::parse(chain.first())?;
        let certified_key = CertifiedKey::from_der(chain, key.clone_key(), &provider).map_err(|error| {
            let message = format!("the private key does not match the certificate of {}", leaf.spiffe_id);
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

    /// Returns the private key, for the state directory.
    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// Returns the SPIFFE ID in the certificate. Its trust domain is that of the mesh.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Returns the certificate chain without roots, and its private key.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// Returns the roots that verify peers: those of the configuration, those issued with the last certificate, and
    /// those that istiod last pushed.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// Returns the time at which the certificate becomes valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Returns the time at which the certificate expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Returns the time from `now` until the certificate expires; zero if it has expired.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// Returns the crypto provider of the client.
    #[must_use]
    pub fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Returns the epoch: a number that increases with each new certificate and each change of the roots. Values that
    /// are derived from an identity (TLS configurations, connection pools) must be replaced when the epoch changes.
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
