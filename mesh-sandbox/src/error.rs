//! What can go wrong when a sandbox is started or changed.

use std::io;
use std::path::PathBuf;

use crate::place::Place;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where (file and line), and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be bound.
    #[error("{what} cannot listen on {address}; is another process using the port?")]
    Bind {
        /// What wanted to listen.
        what: &'static str,
        /// The address that was asked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or key could not be made.
    #[error("{what} could not be made: {problem}")]
    Certificate {
        /// What was being made.
        what: String,
        /// Why not.
        problem: String,
    },
    /// Two documents describe the same object.
    #[error(
        "{place}: {kind} {namespace}/{name} is already defined at {first}; give one of them another name or delete it"
    )]
    Duplicate {
        /// Where the second one is.
        place: Place,
        /// Where the first one is.
        first: Place,
        /// The kind of the object.
        kind: Box<str>,
        /// Its namespace.
        namespace: Box<str>,
        /// Its name.
        name: Box<str>,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {action}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A document says something that Istio or Kubernetes would refuse, or that the sandbox cannot imitate.
    #[error("{place}: {kind} {namespace}/{name}: {problem}")]
    Invalid {
        /// Where the document is.
        place: Place,
        /// The kind of the object.
        kind: Box<str>,
        /// Its namespace.
        namespace: Box<str>,
        /// Its name.
        name: Box<str>,
        /// What is wrong and what to do.
        problem: Box<str>,
    },
    /// The mesh folder has no cluster in it.
    #[error("{}: no cluster; make a folder per cluster (for example cluster1) and put YAML files into it", path.display())]
    NoCluster {
        /// The mesh folder.
        path: PathBuf,
    },
    /// An object that a call names does not exist.
    #[error("there is no {what} {name}; there is: {known}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// What exists.
        known: String,
    },
    /// A line of `upstream.hosts` is not in the format of hosts(5).
    #[error("{place}: {problem}; a line is an address and the names that have it")]
    UpstreamHosts {
        /// Where the line is.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
    /// A file beside the clusters that the sandbox does not read.
    #[error(
        "{}: not supported by the sandbox; beside the folders of clusters it reads mesh.yaml, meshNetworks.yaml and \
         upstream.hosts",
        path.display()
    )]
    UnsupportedFile {
        /// The file.
        path: PathBuf,
    },
    /// `mesh.yaml` changes the trust domain of a mesh that runs.
    #[error(
        "mesh.yaml changes the trust domain or its aliases, which stand in certificates; start the sandbox anew"
    )]
    TrustDomainChanged,
    /// A kind that the sandbox does not imitate.
    #[error(
        "{place}: kind {kind} ({api_version}) is not supported by the sandbox; \
         remove the document, or see the table of supported kinds in the documentation of mesh-sandbox"
    )]
    UnsupportedKind {
        /// Where the document is.
        place: Place,
        /// The kind.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
    /// A file is not YAML, or its YAML does not have the shape of the object it claims to be.
    #[error("{place}: {problem}")]
    Yaml {
        /// Where the problem is.
        place: Place,
        /// What the parser says.
        problem: String,
    },
}

impl Error {
    /// The file and line that the error is about, if it is about YAML.
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
