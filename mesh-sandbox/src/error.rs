//! The errors of starting or changing a sandbox.

use std::io;
use std::path::PathBuf;

use crate::place::Place;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the sandbox. Its message names the file and line, if any, and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be bound.
    #[error("{what} cannot listen on {address}; is another process using the port?")]
    Bind {
        /// The server that was about to listen.
        what: &'static str,
        /// The requested address.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// A certificate or key could not be created.
    #[error("{what} could not be created: {problem}")]
    Certificate {
        /// The object that was being created.
        what: String,
        /// The cause.
        problem: String,
    },
    /// Two documents define the same object.
    #[error(
        "{place}: {kind} {namespace}/{name} is already defined at {first}; give one of them another name or delete it"
    )]
    Duplicate {
        /// The location of the second document.
        place: Place,
        /// The location of the first document.
        first: Place,
        /// The kind of the object.
        kind: Box<str>,
        /// The namespace of the object.
        namespace: Box<str>,
        /// The name of the object.
        name: Box<str>,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {action}", path.display())]
    File {
        /// The path of the file or folder.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Istio or Kubernetes would reject the document, or the sandbox does not support it.
    #[error("{place}: {kind} {namespace}/{name}: {problem}")]
    Invalid {
        /// The location of the document.
        place: Place,
        /// The kind of the object.
        kind: Box<str>,
        /// The namespace of the object.
        namespace: Box<str>,
        /// The name of the object.
        name: Box<str>,
        /// The problem and the next step.
        problem: Box<str>,
    },
    /// The mesh folder contains no cluster folder.
    #[error("{}: no cluster found; create one folder per cluster (for example cluster1) that contains YAML files", path.display())]
    NoCluster {
        /// The path of the mesh folder.
        path: PathBuf,
    },
    /// A method was called with the name of an object that does not exist.
    #[error("{what} {name} does not exist; existing: {known}")]
    NotFound {
        /// The kind of the object.
        what: &'static str,
        /// The name that was passed.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A line of `upstream.hosts` does not have the format of hosts(5).
    #[error("{place}: {problem}; a line consists of an IP address and its names")]
    UpstreamHosts {
        /// The location of the line.
        place: Place,
        /// The problem.
        problem: String,
    },
    /// A file beside the cluster folders that the sandbox does not read.
    #[error(
        "{}: not supported by the sandbox; beside the cluster folders it reads only mesh.yaml, meshNetworks.yaml and \
         upstream.hosts",
        path.display()
    )]
    UnsupportedFile {
        /// The path of the file.
        path: PathBuf,
    },
    /// `mesh.yaml` changes the trust domain of a running mesh.
    #[error(
        "mesh.yaml changes the trust domain or its aliases, which are part of issued certificates; restart the sandbox"
    )]
    TrustDomainChanged,
    /// A kind that the sandbox does not support.
    #[error(
        "{place}: kind {kind} ({api_version}) is not supported by the sandbox; \
         remove the document, or see the table of supported kinds in the documentation of mesh-sandbox"
    )]
    UnsupportedKind {
        /// The location of the document.
        place: Place,
        /// The kind.
        kind: String,
        /// The `apiVersion` of the document.
        api_version: String,
    },
    /// A file is not YAML, or a document does not have the structure of its kind.
    #[error("{place}: {problem}")]
    Yaml {
        /// The location of the problem.
        place: Place,
        /// The message of the parser.
        problem: String,
    },
}

impl Error {
    /// Returns the file and line of an error in YAML.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Duplicate { place, .. }
            | Self::Invalid { place, .. }
            | Self::UpstreamHosts { place, .. }
            | Self::UnsupportedKind { place, .. }
            | Self::Yaml { place, .. } => Some(place),
            _ => None,
        }
    }

    pub(crate) fn certificate(what: impl Into<String>, problem: impl ToString) -> Self {
        Self::Certificate { what: what.into(), problem: problem.to_string() }
    }
}
