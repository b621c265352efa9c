//! Roots and certificates in files, as DestinationRules of mode SIMPLE and MUTUAL name them.
//!
//! istiod passes the paths on as names of secrets (istio `pilot/pkg/security/model/authentication.go`), which a sidecar's
//! agent reads from its own file system: here they are files of this host.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use nds_client::{Certificate, Cluster, Identity, Roots, TlsContext};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::{Error, ErrorKind};

const ROOTS: &str = "file-root:";
const CERTIFICATE: &str = "file-cert:";
const SYSTEM: &str = "system";

/// What a TLS context names, read.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) roots: Arc<RootCertStore>,
    /// `None`: no certificate is presented.
    pub(super) certificate: Option<Arc<CertifiedKey>>,
    /// The files it was read from, as they were.
    files: Vec<(PathBuf, Stamp)>,
}

/// What changes with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl Material {
    /// `system` is the system's roots, where they have been read: there are many of them.
    pub(super) fn read(
        cluster: &Cluster,
        context: &TlsContext,
        identity: &Identity,
        system: &OnceLock<Arc<RootCertStore>>,
    ) -> Result<Self, Error> {
        let mut reader = Reader { cluster, files: Vec::new() };
        let roots = match &context.roots {
            Roots::Mesh => identity.roots().clone(),
            Roots::Named(name) => match name.strip_prefix(ROOTS) {
                Some(SYSTEM) => match system.get_or_init(|| system_roots().into()) {
                    none if none.is_empty() => return Err(reader.without_system()),
                    roots => roots.clone(),
                },
                Some(path) => Arc::new(reader.roots(path)?),
                None => return Err(reader.unsupported(&format!("the roots `{name}`, which are in no file"))),
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

    /// Whether the files are as they were: looked at without reading them.
    pub(super) fn is_current(&self) -> bool {
        self.files.iter().all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp))
    }
}

struct Reader<'a> {
    cluster: &'a Cluster,
    files: Vec<(PathBuf, Stamp)>,
}

impl Reader<'_> {
    fn roots(&mut self, path: &str) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        let text = self.text(path)?;
        for certificate in self.certificates(path, &text)? {
            store.add(certificate).map_err(|error| self.unusable(path, error))?;
        }
        Ok(store)
    }

    fn certificate(&mut self, name: &str, identity: &Identity) -> Result<CertifiedKey, Error> {
        let paths = name.strip_prefix(CERTIFICATE).and_then(|paths| paths.split_once('~'));
        let Some((chain, key)) = paths else {
            return Err(self.unsupported(&format!("the certificate `{name}`, which is in no file")));
        };
        let text = self.text(chain)?;
        let certificates = self.certificates(chain, &text)?;
        let text = self.text(key)?;
        let der = PrivateKeyDer::from_pem_slice(&text).map_err(|error| self.unusable(key, error))?;
        let key = identity.provider().key_provider.load_private_key(der);
        let key = key.map_err(|error| self.unusable(paths.unwrap_or_default().1, error))?;
        let pair = CertifiedKey::new(certificates, key);
        match pair.keys_match() {
            // Not every kind of key tells.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
            Err(error) => Err(self.unusable(chain, error)),
        }
    }

    fn certificates(&self, path: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        match found {
            Ok(found) if found.is_empty() => {
                Err(self.unusable(path, io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")))
            }
            Ok(found) => Ok(found),
            Err(error) => Err(self.unusable(path, error)),
        }
    }

    fn text(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        let path = Path::new(path);
        let read = || Ok::<_, io::Error>((Stamp::of(path)?, fs::read(path)?));
        let (stamp, text) = read().map_err(|error| self.unusable(&path.to_string_lossy(), error))?;
        self.files.push((path.to_owned(), stamp));
        Ok(text)
    }

    fn unusable(&self, path: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let name = &self.cluster.name;
        let message =
            format!("`{path}`, which the DestinationRule of `{name}` names, cannot be used on this host");
        Error::with_source(ErrorKind::Credentials, message, error)
    }

    fn without_system(&self) -> Error {
        let message = format!(
            "`{}` asks for the roots of this host's system, and there are none: install its CA certificates, or name a \
             file (caCertificates)",
            self.cluster.name
        );
        Error::new(ErrorKind::Credentials, message)
    }

    fn unsupported(&self, what: &str) -> Error {
        let message = format!("`{}` asks for {what}, which is not supported", self.cluster.name);
        Error::new(ErrorKind::Unsupported, message)
    }
}

/// What this host's system trusts; those that cannot be read are left out.
fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}
