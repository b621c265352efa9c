//! Who this process is in the mesh: key, certificate chain, roots.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};

use crate::SpiffeId;

/// A workload identity as it was issued: one value, replaced as a whole when it is renewed.
#[derive(Clone)]
pub struct Identity {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) certified_key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) not_after: SystemTime,
    pub(crate) lifetime: Duration,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) epoch: u64,
}

impl Identity {
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

    /// When the certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether the certificate has ended at `now`.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now >= self.not_after
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
