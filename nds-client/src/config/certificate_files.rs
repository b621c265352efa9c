//! The paths of certificate files.

use std::path::PathBuf;

/// The paths of the chain (leaf first), the private key and the roots of the mesh, all in PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) roots: Option<PathBuf>,
}
