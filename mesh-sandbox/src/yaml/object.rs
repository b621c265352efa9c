//! An object: its kind, its name, its content.

use std::fmt;
use std::sync::Arc;

use super::destination_rule::DestinationRule;
use super::istio;
use super::kubernetes::{self, Labels, Metadata};
use crate::error::Error;
use crate::place::Place;

/// What an object is called in its cluster.
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

/// An object and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) place: Place,
    pub(crate) key: Key,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) object: Object,
    /// The document itself: the same text is the same object.
    pub(crate) text: Arc<str>,
}

/// The kinds that the sandbox imitates.
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
    /// Whether istiod reads it from the config cluster alone.
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

    /// Objects in order of age, and those of one second by name (istio `configCompareByCreationTime`).
    pub(crate) fn age(&self) -> (String, String, String) {
        let Key { namespace, name, .. } = &self.key;
        (self.metadata.creation_timestamp.clone(), name.clone(), namespace.clone())
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::Invalid {
            place: self.place.clone(),
            kind: self.key.kind.as_str().into(),
            namespace: self.key.namespace.as_str().into(),
            name: self.key.name.as_str().into(),
            problem: problem.into().into(),
        }
    }
}
