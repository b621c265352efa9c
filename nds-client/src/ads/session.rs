//! The delta xDS protocol as a value: events in, messages and updates out. No IO, no clock.
//!
//! What may be said to istiod is narrow, because some messages are lost and some end it (istio `pilot/pkg/xds/delta.go`
//! and the live findings of this project):
//!
//! * a change of subscription goes in a message of its own, without a nonce; on a stale nonce it is lost;
//! * an error goes only to a type that this very stream has subscribed to, and never in the first message;
//! * only known types are named; an unknown one ends the stream;
//! * NDS is subscribed to without names; explicit ones come back as removed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use prost::Message as _;
use rustls_pki_types::CertificateDer;
use xds_proto::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource},
    },
    google::rpc::Status,
    istio::mesh::v1alpha1::ProxyConfig,
    type_url,
};

use crate::{
    Cluster, Clusters, Endpoints, Error, ErrorKind, NameTable,
    identity::{certificates, root_store},
};

/// What callers want beside names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// All clusters.
    pub(crate) clusters: bool,
    /// Endpoints, by EDS name.
    pub(crate) endpoints: BTreeSet<String>,
}

/// Something new that istiod said.
#[derive(Debug)]
pub(crate) enum Update {
    Clusters(Clusters),
    /// By EDS name; others are as before.
    Endpoints(Vec<(String, Endpoints)>),
    Names(NameTable),
    /// The roots of the mesh.
    Roots(Vec<CertificateDer<'static>>),
}

/// What follows from a response.
#[derive(Debug, Default)]
pub(crate) struct Reaction {
    /// The acknowledgement or rejection to send.
    pub(crate) reply: Option<DeltaDiscoveryRequest>,
    pub(crate) update: Option<Update>,
    /// Why the response, or a part of it, was rejected.
    pub(crate) rejected: Option<Error>,
}

/// One subscription state that outlives streams.
#[derive(Debug)]
pub(crate) struct Session {
    node: Node,
    clusters: HashMap<String, Arc<Cluster>>,
    /// What the open stream has subscribed to.
    subscribed: Wanted,
    /// Whether the open stream has ever subscribed to endpoints; istiod takes answers even after the last name.
    has_endpoints: bool,
}

impl Session {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, clusters: HashMap::new(), subscribed: Wanted::default(), has_endpoints: false }
    }

    /// A new stream: its first messages, of which only the very first describes the node.
    pub(crate) fn open(&mut self, wanted: Wanted) -> Vec<DeltaDiscoveryRequest> {
        self.subscribed = Wanted::default();
        self.has_endpoints = false;
        let names = DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: type_url::NAME_TABLE.to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        // istiod pushes its roots where it runs with several of them, and says nothing otherwise (istio
        // `pilot/pkg/xds/pcds.go`).
        [vec![names, request(type_url::PROXY_CONFIG)], self.want(wanted)].concat()
    }

    /// What has to be said on the open stream so that it is subscribed to `wanted`.
    pub(crate) fn want(&mut self, wanted: Wanted) -> Vec<DeltaDiscoveryRequest> {
        let mut messages = Vec::new();
        if wanted.clusters && !self.subscribed.clusters {
            // istiod reports what has vanished since only of names that it is told here; their versions do not count.
            let initial_resource_versions =
                self.clusters.keys().map(|name| (name.clone(), String::new())).collect();
            messages.push(DeltaDiscoveryRequest { initial_resource_versions, ..request(type_url::CLUSTER) });
        }
        let names = |names: &BTreeSet<String>, without: &BTreeSet<String>| {
            names.difference(without).cloned().collect::<Vec<_>>()
        };
        let subscribe = names(&wanted.endpoints, &self.subscribed.endpoints);
        let unsubscribe = names(&self.subscribed.endpoints, &wanted.endpoints);
        if !subscribe.is_empty() || !unsubscribe.is_empty() {
            self.has_endpoints = true;
            messages.push(DeltaDiscoveryRequest {
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                ..request(type_url::ENDPOINT)
            });
        }
        self.subscribed = Wanted { clusters: wanted.clusters || self.subscribed.clusters, ..wanted };
        messages
    }

    /// A response on the open stream.
    pub(crate) fn receive(&mut self, response: DeltaDiscoveryResponse) -> Reaction {
        let nonce = response.nonce.clone();
        let type_url = response.type_url.clone();
        let (update, problems) = match type_url.as_str() {
            type_url::NAME_TABLE => names(response),
            type_url::PROXY_CONFIG => roots(response),
            type_url::CLUSTER if self.subscribed.clusters => self.clusters(response),
            type_url::ENDPOINT if self.has_endpoints => self.endpoints(response),
            // Nothing may be said about a type that this stream has not subscribed to.
            other => {
                let message = format!("istiod sent {other}, which nobody asked for");
                return Reaction {
                    rejected: Some(Error::new(ErrorKind::InvalidResource, message)),
                    ..Reaction::default()
                };
            }
        };
        let reply = DeltaDiscoveryRequest { response_nonce: nonce, ..request(&type_url) };
        if problems.is_empty() {
            return Reaction { reply: Some(reply), update, rejected: None };
        }
        let message = problems.join("; ");
        let error_detail =
            Some(Status { code: tonic::Code::InvalidArgument as i32, message: message.clone() });
        let message =
            format!("a push of istiod's was rejected, what was known before stays in use: {message}");
        Reaction {
            reply: Some(DeltaDiscoveryRequest { error_detail, ..reply }),
            update,
            rejected: Some(Error::new(ErrorKind::InvalidResource, message)),
        }
    }

    /// A good cluster of a push is taken although another one is bad, as xDS allows.
    fn clusters(&mut self, response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        let mut problems = Vec::new();
        for name in &response.removed_resources {
            self.clusters.remove(name);
        }
        for resource in response.resources {
            let (name, value) = value(resource);
            match Cluster::decode(value) {
                Ok(Some(cluster)) => {
                    self.clusters.insert(cluster.name.to_string(), Arc::new(cluster));
                }
                Ok(None) => {}
                Err(error) => problems.push(format!("cluster {name}: {error}")),
            }
        }
        (Some(Update::Clusters(self.clusters.values().cloned().collect())), problems)
    }

    fn endpoints(&self, response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for resource in response.resources {
            let (name, value) = value(resource);
            if !self.subscribed.endpoints.contains(&name) {
                continue;
            }
            match Endpoints::decode(value) {
                Ok(endpoints) => all.push((name, endpoints)),
                Err(error) => problems.push(format!("endpoints of {name}: {error}")),
            }
        }
        // istiod sends an empty assignment for a deleted service; other control planes remove it.
        let removed = response.removed_resources.into_iter();
        all.extend(
            removed
                .filter(|name| self.subscribed.endpoints.contains(name))
                .map(|name| (name, Endpoints::default())),
        );
        ((!all.is_empty()).then_some(Update::Endpoints(all)), problems)
    }
}

/// A push of names is one resource without a name, the whole table. An answer without it says nothing new.
fn names(mut response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
    if response.resources.is_empty() {
        return (None, Vec::new());
    }
    let (_, value) = value(response.resources.swap_remove(0));
    match NameTable::decode(value) {
        Ok(table) => (Some(Update::Names(table)), Vec::new()),
        Err(error) => (None, vec![format!("name table: {error}")]),
    }
}

/// An answer without roots says nothing new.
fn roots(mut response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
    if response.resources.is_empty() {
        return (None, Vec::new());
    }
    let (_, value) = value(response.resources.swap_remove(0));
    let roots = match ProxyConfig::decode(value) {
        Ok(config) if config.ca_certificates_pem.is_empty() => return (None, Vec::new()),
        Ok(config) => certificates(config.ca_certificates_pem.concat().as_bytes(), "the pushed roots"),
        Err(error) => Err(Error::with_source(ErrorKind::InvalidResource, "not a ProxyConfig message", error)),
    };
    let usable = roots.and_then(|roots| root_store(&roots).map(|_| roots));
    match usable {
        Ok(roots) => (Some(Update::Roots(roots)), Vec::new()),
        Err(error) => (None, vec![format!("roots: {}", error.report())]),
    }
}

fn value(resource: Resource) -> (String, bytes::Bytes) {
    (resource.name, resource.resource.map(|any| any.value).unwrap_or_default())
}

fn request(type_url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() }
}

#[cfg(test)]
mod tests;
