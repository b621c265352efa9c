//! A Kubernetes or Istio object: kind, name and content.

use std::fmt;
use std::sync::Arc;

use super::destination_rule::DestinationRule;
use super::istio;
use super::kubernetes::{self, Labels, Metadata};
use crate::error::{Error, ErrorKind};
use crate::location::SourceLocation;

/// The kind, namespace and name of an object, which are unique in its cluster. The namespace of cluster-wide objects is
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object and its location in a file.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) location: SourceLocation,
    pub(crate) key: Key,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) object: Object,
    /// The text of the document. Objects are equal if their texts are equal.
    pub(crate) text: Arc<str>,
}

/// An object of a supported kind. For variants without a value, the sandbox reads only the metadata.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    DestinationRule(Arc<DestinationRule>),
    EndpointSlice(Arc<kubernetes::EndpointSlice>),
    Gateway(Arc<istio::Gateway>),
    Namespace,
    Node,
    PeerAuthentication(Arc<istio::PeerAuthentication>),
    Pod(Arc<kubernetes::Pod>),
    Service(Arc<kubernetes::Service>),
    ServiceAccount,
    ServiceEntry(Arc<istio::ServiceEntry>),
    Sidecar(Arc<istio::Sidecar>),
    WorkloadEntry(Arc<istio::WorkloadEntry>),
    WorkloadGroup(Arc<istio::WorkloadGroup>),
}

impl Object {
    /// Returns whether istiod reads the kind only from the config cluster.
    pub(crate) fn is_istio(&self) -> bool {
        matches!(
            self,
            Self::DestinationRule(_)
                | Self::Gateway(_)
                | Self::PeerAuthentication(_)
                | Self::ServiceEntry(_)
                | Self::Sidecar(_)
                | Self::WorkloadEntry(_)
                | Self::WorkloadGroup(_)
        )
    }
}

impl Manifest {
    pub(crate) fn labels(&self) -> &Labels {
        &self.metadata.labels
    }

    /// Returns a sort key by creation time, then by name (istio `configCompareByCreationTime`).
    pub(crate) fn age(&self) -> (String, String, String) {
        let Key { namespace, name, .. } = &self.key;
        (self.metadata.creation_timestamp.clone(), name.clone(), namespace.clone())
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        let problem = format!("{}: {}", self.key, problem.into());
        Error::at(ErrorKind::InvalidObject, self.location.clone(), problem)
    }
}
