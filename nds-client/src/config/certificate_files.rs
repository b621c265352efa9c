//! The paths of certificate files.

use std::path::PathBuf;

/// The paths of three PEM files: the certificate chain (leaf first), its private key, and the roots of the mesh.
/// `roots` is `None` if no such file is configured.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) roots: Option<PathBuf>,
}
