//! The roots of the mesh, by where they came from.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use sidestep_util::pem::{self, PemError, distinct};

use crate::error::{Error, ErrorKind};

/// What is trusted is all of these together: while a root is being replaced, one source knows the new one before the
/// others, and a client that knew only the old one could reach istiod no longer.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootSet {
    /// Of the configuration.
    pub(crate) configured: Vec<CertificateDer<'static>>,
    /// That came with the last certificate.
    pub(crate) issued: Vec<CertificateDer<'static>>,
    /// That istiod last pushed.
    pub(crate) pushed: Vec<CertificateDer<'static>>,
}

impl RootSet {
    /// All of them, each once.
    pub(crate) fn union(&self) -> Vec<CertificateDer<'static>> {
        distinct(self.configured.iter().chain(&self.issued).chain(&self.pushed))
    }

    /// Those that the configuration does not bring anyway.
    pub(crate) fn discovered(&self) -> Vec<CertificateDer<'static>> {
        distinct(self.issued.iter().chain(&self.pushed))
    }
}

/// The certificates of a PEM text, at least one. `what` names the text.
pub(crate) fn certificates(text: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    pem::certificates(text).map_err(|error| {
        let message = format!("{what}: {error}");
        match error {
            PemError::Malformed(source) => Error::with_source(ErrorKind::Credentials, message, source),
            _ => Error::new(ErrorKind::Credentials, message),
        }
    })
}

/// A store of these roots, each once.
pub(crate) fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    pem::root_store(roots).map_err(|error| {
        Error::with_source(ErrorKind::Credentials, "a root certificate cannot be used", error)
    })
}
