//! Certificate files that another program renews: a SPIRE agent, cert-manager, Istio's agent.

use std::{fs, hash::BuildHasher as _, path::Path, sync::Arc};

use foldhash::fast::FixedState;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{Identity, certificates};
use crate::{
    config::CertificateFiles,
    error::{Error, ErrorKind},
};

/// The contents of the certificate files at one time. They are erased when they are dropped.
pub(crate) struct FileContents {
    chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    roots: Zeroizing<Vec<u8>>,
}

impl FileContents {
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, Error> {
        let read = |path: &Path| {
            fs::read(path).map(Zeroizing::new).map_err(|error| {
                let message = format!(
                    "certificate file {} cannot be read: check the path and its permissions",
                    path.display()
                );
                Error::with_source(ErrorKind::Credentials, message, error)
            })
        };
        let roots = files.roots.as_deref().map(read).transpose()?;
        Ok(Self { chain: read(&files.chain)?, key: read(&files.key)?, roots: roots.unwrap_or_default() })
    }

    /// Returns a hash of the contents. Modification times are not reliable here: a renewal may rename a directory, or
    /// replace a file twice within the resolution of its timestamps.
    pub(crate) fn fingerprint(&self) -> u64 {
        FixedState::with_seed(0).hash_one((&*self.chain, &*self.key, &*self.roots))
    }

    /// Returns the identity in the files, without roots.
    pub(crate) fn identity(&self, provider: Arc<CryptoProvider>) -> Result<Identity, Error> {
        Identity::from_pem_pair(&self.chain, &self.key, provider)
    }

    /// Returns the roots in the files; an empty list if no roots file is configured.
    pub(crate) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        if self.roots.is_empty() { Ok(Vec::new()) } else { certificates(&self.roots, "the roots") }
    }
}

/// Adds the paths of the chain and of the key to an error.
pub(crate) fn with_file_names(files: &CertificateFiles, error: Error) -> Error {
    let names = format!("certificate files {} and {}", files.chain.display(), files.key.display());
    Error::with_source(error.kind(), format!("{names}: {error}"), error)
}
