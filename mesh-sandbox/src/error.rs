//! The errors of starting or changing a sandbox.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sidestep_util::error::ErrorCore;

use crate::location::SourceLocation;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of the sandbox.
///
/// The message names the next step, and the file and line if the error has a location. `Debug` prints the message and
/// each cause on its own line.
#[derive(Clone)]
pub struct Error(Arc<ErrorCore<ErrorKind, Option<SourceLocation>>>);

sidestep_util::impl_error!(Error);

/// The category of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An address could not be bound.
    Bind,
    /// A certificate or key could not be created.
    Certificate,
    /// Two YAML documents define the same object.
    DuplicateObject,
    /// A file or folder could not be read or written.
    File,
    /// A line of `upstream.hosts` does not have the format of hosts(5).
    InvalidHosts,
    /// Istio or Kubernetes would reject the object, or the sandbox does not support it.
    InvalidObject,
    /// A file is not YAML, or a document does not have the structure of its kind.
    InvalidYaml,
    /// The mesh folder contains no cluster folder.
    NoCluster,
    /// A method was called with the name of an object that does not exist.
    NotFound,
    /// `mesh.yaml` changes the trust domain or the trust domain aliases of a running mesh.
    TrustDomainChanged,
    /// A YAML file next to the cluster folders is neither `mesh.yaml` nor `meshNetworks.yaml`.
    UnsupportedFile,
    /// The sandbox does not support the kind of a document.
    UnsupportedKind,
}

impl ErrorKind {
    /// Returns the name of the category in snake case, for logs and metrics.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Certificate => "certificate",
            Self::DuplicateObject => "duplicate_object",
            Self::File => "file",
            Self::InvalidHosts => "invalid_hosts",
            Self::InvalidObject => "invalid_object",
            Self::InvalidYaml => "invalid_yaml",
            Self::NoCluster => "no_cluster",
            Self::NotFound => "not_found",
            Self::TrustDomainChanged => "trust_domain_changed",
            Self::UnsupportedFile => "unsupported_file",
            Self::UnsupportedKind => "unsupported_kind",
        }
    }
}

impl Error {
    /// Returns the category of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the file and line of an error in YAML or in `upstream.hosts`, and `None` for any other error.
    #[must_use]
    pub fn location(&self) -> Option<&SourceLocation> {
        self.0.details.as_ref()
    }

    /// Returns the message and its causes on one line.
    #[must_use]
    pub fn report(&self) -> String {
        self.0.report()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(ErrorCore::new(kind, message).with_details(None)))
    }

    fn with_source(kind: ErrorKind, message: String, source: io::Error) -> Self {
        Self(Arc::new(ErrorCore::new(kind, message).with_details(None).with_source(source)))
    }

    /// Creates an error whose message starts with a location.
    pub(crate) fn at(kind: ErrorKind, location: SourceLocation, problem: impl Display) -> Self {
        let message = format!("{location}: {problem}");
        Self(Arc::new(ErrorCore::new(kind, message).with_details(Some(location))))
    }

    pub(crate) fn bind(what: &str, address: SocketAddr, source: io::Error) -> Self {
        let message = format!("{what} cannot listen on {address}; is another process using the port?");
        Self::with_source(ErrorKind::Bind, message, source)
    }

    pub(crate) fn certificate(what: impl Display, problem: impl Display) -> Self {
        Self::new(ErrorKind::Certificate, format!("{what} could not be created: {problem}"))
    }

    pub(crate) fn file(path: &Path, action: &str, source: io::Error) -> Self {
        Self::with_source(ErrorKind::File, format!("{}: {action}", path.display()), source)
    }

    pub(crate) fn not_found(what: &str, name: impl Display, known: &[String]) -> Self {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Self::new(ErrorKind::NotFound, format!("{what} {name} does not exist; existing: {known}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_message_and_the_cause() {
        let error = Error::file(Path::new("a.yaml"), "cannot be read", io::Error::other("denied"));
        assert_eq!(error.report(), "a.yaml: cannot be read: denied");
        assert_eq!(format!("{error:?}"), "a.yaml: cannot be read\n\nCaused by:\n    denied");
    }
}
