//! A certificate in files.

use std::path::PathBuf;

/// Where the chain (leaf first), the key and the roots of the mesh are, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) roots: Option<PathBuf>,
}
