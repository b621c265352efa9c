//! The delta xDS protocol as a value: events in, messages and updates out. No IO, no clock.
//!
//! istiod accepts a subset of the protocol; it ignores some other messages and ends the stream on others (istio
//! `pilot/pkg/xds/delta.go`):
//!
//! * A change of a subscription is a message of its own, without a nonce. istiod ignores a change with a stale nonce.
//! * An error (NACK) may only name a type that the same stream has subscribed to, and must not be in the first message.
//! * Unknown types end the stream.
//! * NDS is subscribed to without resource names. istiod reports explicit names as removed.

mod request;
mod summary;

use std::{
    collections::{BTreeSet, HashSet},
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

use self::request::{MAX_BYTES, chunks, request};
use crate::{
    error::{Error, ErrorKind},
    identity::{certificates, root_store},
    resources::{
        cluster::{Clusters, Templates},
        endpoint::Endpoints,
        name_table::{NameHasher, NameTable},
    },
    subscriptions::{SubscriptionDelta, SubscriptionSet},
};

/// New values in a response.
#[derive(Debug)]
pub(crate) enum Update {
    Clusters(Clusters),
    /// The endpoints of the EDS names in the response. The endpoints of other names are unchanged.
    Endpoints(Vec<(Arc<str>, Endpoints)>),
    /// The name table; `None` if its bytes are those of the previous table.
    Names(Option<NameTable>),
    /// The roots of the mesh.
    Roots(Vec<CertificateDer<'static>>),
}

/// The result of processing a response of a subscribed type.
#[derive(Debug)]
pub(crate) struct Reaction {
    /// The type URL of the response.
    pub(crate) type_url: &'static str,
    /// The ACK or NACK to send.
    pub(crate) reply: DeltaDiscoveryRequest,
    pub(crate) update: Option<Update>,
    /// The reason of the NACK; `None` for an ACK.
    pub(crate) rejected: Option<Error>,
}

/// The protocol state, which outlives streams.
#[derive(Debug)]
pub(crate) struct Session {
    node: Node,
    /// The hash function of the name tables.
    hasher: NameHasher,
    /// The hash of the bytes of the last valid name table.
    names: Option<u64>,
    clusters: Clusters,
    templates: Templates,
    /// The subscriptions of the open stream.
    subscribed: SubscriptionSet,
    /// Whether the open stream has ever subscribed to endpoints. istiod accepts ACKs and NACKs of endpoints even after
    /// the last EDS name was removed.
    has_endpoints: bool,
    /// The type URLs of the subscriptions of the open stream that istiod has not answered yet.
    unanswered: BTreeSet<&'static str>,
    /// Whether the first response with clusters on the open stream replaces all clusters. This is the case if the first
    /// request could not name all known clusters, because it would exceed the size limit.
    replaces_clusters: bool,
}

impl Session {
    /// Creates the state of a client that describes itself as `node`. `seed` is a random number.
    pub(crate) fn new(node: Node, seed: u64) -> Self {
        Self {
            node,
            hasher: NameHasher::with_seed(seed),
            names: None,
            clusters: Clusters::default(),
            templates: Templates::default(),
            subscribed: SubscriptionSet::default(),
            has_endpoints: false,
            unanswered: BTreeSet::new(),
            replaces_clusters: false,
        }
    }

    /// Starts a stream. Returns its first messages; only the first of them contains the node.
    pub(crate) fn open(&mut self, subscriptions: SubscriptionSet) -> Vec<DeltaDiscoveryRequest> {
        self.subscribed = SubscriptionSet::default();
        self.has_endpoints = false;
        self.unanswered = BTreeSet::from([type_url::NAME_TABLE]);
        let names = DeltaDiscoveryRequest { node: Some(self.node.clone()), ..request(type_url::NAME_TABLE) };
        // istiod pushes its roots if it has several; if it has only one, it does not answer (istio
        // `pilot/pkg/xds/pcds.go`).
        let roots = request(type_url::PROXY_CONFIG);
        let SubscriptionSet { clusters, endpoints } = subscriptions;
        let subscribe = endpoints.into_iter().collect();
        [vec![names, roots], self.change(SubscriptionDelta { clusters, subscribe, unsubscribe: Vec::new() })]
            .concat()
    }

    /// Returns the messages that apply a change to the open stream.
    pub(crate) fn change(&mut self, change: SubscriptionDelta) -> Vec<DeltaDiscoveryRequest> {
        let mut messages = Vec::new();
        if change.clusters && !self.subscribed.clusters {
            self.subscribed.clusters = true;
            self.unanswered.insert(type_url::CLUSTER);
            messages.push(self.first_of_clusters());
        }
        let SubscriptionSet { endpoints, .. } = &mut self.subscribed;
        // Dropped names come first, because they can be subscribed to again in the same change.
        let unsubscribe: Vec<_> =
            change.unsubscribe.into_iter().filter(|name| endpoints.remove(name)).collect();
        let subscribe = change.subscribe.into_iter().filter(|name| endpoints.insert(name.clone()));
        let subscribe: Vec<_> = subscribe.collect();
        if !subscribe.is_empty() {
            self.unanswered.insert(type_url::ENDPOINT);
        } else if endpoints.is_empty() {
            self.unanswered.remove(type_url::ENDPOINT);
        }
        self.has_endpoints |= !subscribe.is_empty();
        messages.extend(chunks(unsubscribe).map(|names| DeltaDiscoveryRequest {
            resource_names_unsubscribe: names,
            ..request(type_url::ENDPOINT)
        }));
        messages.extend(chunks(subscribe).map(|names| DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            ..request(type_url::ENDPOINT)
        }));
        messages
    }

    /// Returns the first request for clusters on a stream. istiod reports the removal of a cluster that is known from
    /// an earlier stream only if this request names the cluster. istiod ignores the versions in the request.
    fn first_of_clusters(&mut self) -> DeltaDiscoveryRequest {
        let names = self.clusters.names().map(|name| (name, String::new())).collect();
        let first = DeltaDiscoveryRequest { initial_resource_versions: names, ..request(type_url::CLUSTER) };
        self.replaces_clusters = first.encoded_len() > MAX_BYTES;
        if self.replaces_clusters { request(type_url::CLUSTER) } else { first }
    }

    /// Returns the type URL of a subscription of the open stream that istiod has not answered yet; `None` if it has
    /// answered all.
    pub(crate) fn unanswered(&self) -> Option<&'static str> {
        self.unanswered.first().copied()
    }

    /// Processes a response on the open stream.
    ///
    /// # Errors
    ///
    /// The stream is not subscribed to the type. No reply may be sent.
    pub(crate) fn receive(&mut self, mut response: DeltaDiscoveryResponse) -> Result<Reaction, Error> {
        // A resource without contents only renews the TTL of the previous one (xDS, "TTL").
        response.resources.retain(|resource| resource.resource.is_some());
        let nonce = std::mem::take(&mut response.nonce);
        let (type_url, (update, problems)) = match &*response.type_url {
            type_url::NAME_TABLE => (type_url::NAME_TABLE, self.names(response)),
            type_url::PROXY_CONFIG => (type_url::PROXY_CONFIG, roots(response)),
            type_url::CLUSTER if self.subscribed.clusters => (type_url::CLUSTER, self.clusters(response)),
            type_url::ENDPOINT if self.has_endpoints => (type_url::ENDPOINT, self.endpoints(response)),
            other => {
                let message = format!("istiod pushed the type {other} without a subscription");
                return Err(Error::new(ErrorKind::InvalidResource, message));
            }
        };
        self.unanswered.remove(type_url);
        let mut reply = DeltaDiscoveryRequest { response_nonce: nonce, ..request(type_url) };
        let rejected = (!problems.is_empty()).then(|| {
            let message = summary::of(&problems);
            let code = tonic::Code::InvalidArgument as i32;
            reply.error_detail = Some(Status { code, message: message.clone() });
            let message = format!("a push was rejected, the previous values stay in use: {message}");
            Error::new(ErrorKind::InvalidResource, message)
        });
        Ok(Reaction { type_url, reply, update, rejected })
    }

    /// Reads a push of names: one unnamed resource with the whole table. A response without this resource changes
    /// nothing. The first table of a new stream is often identical to the previous one, because istiod writes it in the
    /// same order.
    fn names(&mut self, mut response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        if response.resources.is_empty() {
            return (None, Vec::new());
        }
        let (_, wire) = value(response.resources.swap_remove(0));
        let fingerprint = Some(self.hasher.hash(&wire));
        if self.names == fingerprint {
            return (Some(Update::Names(None)), Vec::new());
        }
        match NameTable::from_wire(&wire, self.hasher.clone()) {
            Ok(table) => {
                self.names = fingerprint;
                (Some(Update::Names(Some(table))), Vec::new())
            }
            Err(error) => (None, vec![format!("name table: {error}")]),
        }
    }

    /// Reads a push of clusters. The valid clusters are used even if others are invalid, as xDS allows.
    fn clusters(&mut self, response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        let (mut changed, mut problems) = (Vec::new(), Vec::new());
        let removed: HashSet<_> = response.removed_resources.into_iter().collect();
        let replaces = std::mem::take(&mut self.replaces_clusters);
        let mut sent = HashSet::new();
        for resource in response.resources {
            let (name, value) = value(resource);
            match self.templates.read(value) {
                Ok(cluster) => changed.extend(cluster),
                Err(error) => problems.push(format!("cluster {name}: {error}")),
            }
            if replaces {
                sent.insert(name);
            }
        }
        let stays = |name: &str| !removed.contains(name) && (!replaces || sent.contains(name));
        self.clusters = self.clusters.changed(changed, stays);
        self.templates.sweep();
        (Some(Update::Clusters(self.clusters.clone())), problems)
    }

    fn endpoints(&self, response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        let subscribed = |name: &str| self.subscribed.endpoints.get(name).cloned();
        for resource in response.resources {
            let (name, value) = value(resource);
            let Some(name) = subscribed(&name) else { continue };
            match Endpoints::from_wire(value) {
                Ok(endpoints) => all.push((name, endpoints)),
                Err(error) => problems.push(format!("endpoints of {name}: {error}")),
            }
        }
        // istiod sends an empty assignment for a deleted service; other control planes remove the resource.
        let removed = response.removed_resources.iter().filter_map(|name| subscribed(name));
        all.extend(removed.map(|name| (name, Endpoints::default())));
        ((!all.is_empty()).then_some(Update::Endpoints(all)), problems)
    }
}

/// Reads a push of roots. A response without roots changes nothing.
fn roots(mut response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
    if response.resources.is_empty() {
        return (None, Vec::new());
    }
    let (_, value) = value(response.resources.swap_remove(0));
    let roots = match ProxyConfig::decode(value) {
        Ok(config) if config.ca_certificates_pem.is_empty() => return (None, Vec::new()),
        Ok(config) => certificates(config.ca_certificates_pem.concat().as_bytes(), "the pushed roots"),
        Err(error) => Err(Error::with_source(
            ErrorKind::InvalidResource,
            "the resource is not a ProxyConfig message",
            error,
        )),
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

#[cfg(test)]
mod tests;
