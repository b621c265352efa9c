//! The roots of the mesh, by where they came from.

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{Error, ErrorKind};

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
    pub(crate) fn learnt(&self) -> Vec<CertificateDer<'static>> {
        distinct(self.issued.iter().chain(&self.pushed))
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

fn distinct<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Vec<CertificateDer<'static>> {
    let mut distinct: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in certificates {
        if !distinct.contains(certificate) {
            distinct.push(certificate.clone());
        }
    }
    distinct
}
