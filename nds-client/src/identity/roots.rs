//! The roots of the mesh by source.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use sidestep_util::pem::{self, PemError, distinct};

use crate::error::{Error, ErrorKind};

/// The trusted roots: those of all sources together. During a root rotation one source has the new root before the
/// others, and a client with only the old root could not reach istiod.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootSet {
    /// The roots of the configuration.
    pub(crate) configured: Vec<CertificateDer<'static>>,
    /// The roots issued with the last certificate.
    pub(crate) issued: Vec<CertificateDer<'static>>,
    /// The roots that istiod last pushed.
    pub(crate) pushed: Vec<CertificateDer<'static>>,
}

impl RootSet {
    /// Returns the roots of all sources, without duplicates.
    pub(crate) fn union(&self) -> Vec<CertificateDer<'static>> {
        distinct(self.configured.iter().chain(&self.issued).chain(&self.pushed))
    }

    /// Returns the issued and the pushed roots, without duplicates.
    pub(crate) fn discovered(&self) -> Vec<CertificateDer<'static>> {
        distinct(self.issued.iter().chain(&self.pushed))
    }
}

/// Parses a PEM text with at least one certificate. `what` names the text in the error.
pub(crate) fn certificates(text: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    pem::certificates(text).map_err(|error| {
        let message = format!("{what}: {error}");
        match error {
            PemError::Malformed(source) => Error::with_source(ErrorKind::Credentials, message, source),
            _ => Error::new(ErrorKind::Credentials, message),
        }
    })
}

/// Returns a store with these roots, without duplicates.
pub(crate) fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    pem::root_store(roots).map_err(|error| {
        Error::with_source(ErrorKind::Credentials, "a root certificate cannot be used", error)
    })
}
