//! Roots and certificates in files, for DestinationRules of mode SIMPLE and MUTUAL.
//!
//! istiod encodes the paths in secret names (istio `pilot/pkg/security/model/authentication.go`). The agent of a
//! sidecar reads these files from its own file system. This client reads them from the file system of this host.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use nds_client::{
    Identity,
    resources::cluster::{ClientCertificate as Certificate, Cluster, ValidationContext as Roots},
};
use rustls::{RootCertStore, pki_types::CertificateDer, sign::CertifiedKey};
use sidestep_util::{file_stamp::FileStamp, pem};

use super::TlsRequest;
use crate::error::{Error, ErrorKind};

const ROOTS: &str = "file-root:";
const CERTIFICATE: &str = "file-cert:";
const SYSTEM: &str = "system";

/// The roots and the certificate of a TLS context.
#[derive(Debug)]
pub(super) struct FileCredentials {
    pub(super) roots: Arc<RootCertStore>,
    /// The certificate of the client. `None` if the client sends no certificate.
    pub(super) certificate: Option<Arc<CertifiedKey>>,
    /// The files that were read, with their metadata at the time of reading.
    files: Vec<(PathBuf, FileStamp)>,
}

impl FileCredentials {
    /// Reads the files that the TLS context names. `system` caches the roots of the operating system.
    pub(super) fn read(
        request: TlsRequest<'_>,
        system: &OnceLock<Arc<RootCertStore>>,
    ) -> Result<Self, Error> {
        let TlsRequest { cluster, identity, context, .. } = request;
        let mut reader = Reader { cluster, files: Vec::new() };
        let roots = match &context.roots {
            Roots::Mesh => identity.roots().clone(),
            Roots::Named(name) => match name.strip_prefix(ROOTS) {
                Some(SYSTEM) => match system.get_or_init(|| system_roots().into()) {
                    none if none.is_empty() => return Err(reader.without_system()),
                    roots => roots.clone(),
                },
                Some(path) => Arc::new(reader.roots(path)?),
                None => {
                    return Err(reader.unsupported(&format!("the roots `{name}`, which are not in a file")));
                }
            },
            _ => return Err(reader.unsupported("TLS without roots")),
        };
        let certificate = match &context.certificate {
            Certificate::None => None,
            Certificate::Workload => Some(identity.certified_key().clone()),
            Certificate::Named(name) => Some(Arc::new(reader.certificate(name, identity)?)),
            _ => return Err(reader.unsupported("a certificate of an unknown kind")),
        };
        Ok(Self { roots, certificate, files: reader.files })
    }

    /// Returns whether the files are unchanged, without reading them.
    pub(super) fn is_current(&self) -> bool {
        self.files.iter().all(|(path, stamp)| FileStamp::from_path(path).is_ok_and(|now| now == *stamp))
    }
}

struct Reader<'a> {
    cluster: &'a Cluster,
    files: Vec<(PathBuf, FileStamp)>,
}

impl Reader<'_> {
    fn roots(&mut self, path: &str) -> Result<RootCertStore, Error> {
        let roots = self.certificates(path)?;
        pem::root_store(&roots).map_err(|error| self.unusable(path, error))
    }

    fn certificate(&mut self, name: &str, identity: &Identity) -> Result<CertifiedKey, Error> {
        let paths = name.strip_prefix(CERTIFICATE).and_then(|paths| paths.split_once('~'));
        let Some((chain, key)) = paths else {
            return Err(self.unsupported(&format!("the certificate `{name}`, which is not in a file")));
        };
        let certificates = self.certificates(chain)?;
        let der = pem::private_key(&self.content(key)?).map_err(|error| self.unusable(key, error))?;
        let loaded = identity.provider().key_provider.load_private_key(der);
        let pair = CertifiedKey::new(certificates, loaded.map_err(|error| self.unusable(key, error))?);
        match pair.keys_match() {
            // `Unknown` is accepted, because rustls cannot compare some types of keys with the certificate.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
            Err(error) => Err(self.unusable(chain, error)),
        }
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
        pem::certificates(&self.content(path)?).map_err(|error| self.unusable(path, error))
    }

    fn content(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        let (content, stamp) = FileStamp::read(path).map_err(|error| self.unusable(path, error))?;
        self.files.push((path.into(), stamp));
        Ok(content)
    }

    fn unusable(&self, path: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let name = &self.cluster.name;
        let message = format!(
            "cannot use `{path}`, which the DestinationRule of `{name}` specifies: it must exist on this host"
        );
        Error::with_source(ErrorKind::Credentials, message, error)
    }

    fn without_system(&self) -> Error {
        let message = format!(
            "`{}` requires the CA certificates of the operating system, and none are installed: install them, or set \
                         caCertificates to a file",
            self.cluster.name
        );
        Error::new(ErrorKind::Credentials, message)
    }

    fn unsupported(&self, what: &str) -> Error {
        let message = format!("`{}` requires {what}, which is not supported", self.cluster.name);
        Error::new(ErrorKind::Unsupported, message)
    }
}

/// Loads the trusted roots of the operating system. Unreadable certificates are skipped.
fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}
