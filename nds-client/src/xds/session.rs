//! The delta xDS protocol as a value: events in, messages and updates out. No IO, no clock.
//!
//! What may be said to istiod is narrow, because some messages are lost and some end it (istio `pilot/pkg/xds/delta.go`
//! and the live findings of this project):
//!
//! * a change of subscription goes in a message of its own, without a nonce; on a stale nonce it is lost;
//! * an error goes only to a type that this very stream has subscribed to, and never in the first message;
//! * only known types are named; an unknown one ends the stream;
//! * NDS is subscribed to without names; explicit ones come back as removed.

mod request;

use std::{
    collections::{BTreeSet, HashSet},
    hash::BuildHasher as _,
    sync::Arc,
};

use foldhash::fast::FixedState;
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

use self::request::{MOST_BYTES, portions, request};
use crate::{
    error::{Error, ErrorKind},
    identity::{certificates, root_store},
    resources::{
        cluster::{Clusters, Templates},
        endpoint::Endpoints,
        name_table::NameTable,
    },
    subscriptions::{SubscriptionDelta, SubscriptionSet},
};

/// Something new that istiod said.
#[derive(Debug)]
pub(crate) enum Update {
    Clusters(Clusters),
    /// By EDS name; others are as before.
    Endpoints(Vec<(Arc<str>, Endpoints)>),
    /// `None` where the table is the one before, byte by byte.
    Names(Option<NameTable>),
    /// The roots of the mesh.
    Roots(Vec<CertificateDer<'static>>),
}

/// What follows from a response to a subscription.
#[derive(Debug)]
pub(crate) struct Reaction {
    /// The type of the response.
    pub(crate) type_url: &'static str,
    /// The acknowledgement, or the rejection, to send.
    pub(crate) reply: DeltaDiscoveryRequest,
    pub(crate) update: Option<Update>,
    /// Why the response, or a part of it, was rejected.
    pub(crate) rejected: Option<Error>,
}

/// One subscription state that outlives streams.
#[derive(Debug)]
pub(crate) struct Session {
    node: Node,
    /// The fingerprint of the last good name table's bytes.
    names: Option<u64>,
    clusters: Clusters,
    templates: Templates,
    /// What the open stream has subscribed to.
    subscribed: SubscriptionSet,
    /// Whether the open stream has ever subscribed to endpoints; istiod takes answers even after the last name.
    has_endpoints: bool,
    /// What the open stream has subscribed to and not heard of since.
    unanswered: BTreeSet<&'static str>,
    /// Whether the first clusters of the open stream are all there are: there were too many to say which are known.
    replaces_clusters: bool,
}

impl Session {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            names: None,
            clusters: Clusters::default(),
            templates: Templates::default(),
            subscribed: SubscriptionSet::default(),
            has_endpoints: false,
            unanswered: BTreeSet::new(),
            replaces_clusters: false,
        }
    }

    /// A new stream: its first messages, of which only the very first describes the node.
    pub(crate) fn open(&mut self, wanted: SubscriptionSet) -> Vec<DeltaDiscoveryRequest> {
        self.subscribed = SubscriptionSet::default();
        self.has_endpoints = false;
        self.unanswered = BTreeSet::from([type_url::NAME_TABLE]);
        let names = DeltaDiscoveryRequest { node: Some(self.node.clone()), ..request(type_url::NAME_TABLE) };
        // istiod pushes its roots where it runs with several of them, and says nothing otherwise (istio
        // `pilot/pkg/xds/pcds.go`).
        let roots = request(type_url::PROXY_CONFIG);
        let SubscriptionSet { clusters, endpoints } = wanted;
        let subscribe = endpoints.into_iter().collect();
        [vec![names, roots], self.change(SubscriptionDelta { clusters, subscribe, unsubscribe: Vec::new() })]
            .concat()
    }

    /// What has to be said on the open stream so that it follows this change.
    pub(crate) fn change(&mut self, change: SubscriptionDelta) -> Vec<DeltaDiscoveryRequest> {
        let mut messages = Vec::new();
        if change.clusters && !self.subscribed.clusters {
            self.subscribed.clusters = true;
            self.unanswered.insert(type_url::CLUSTER);
            messages.push(self.first_of_clusters());
        }
        let SubscriptionSet { endpoints, .. } = &mut self.subscribed;
        // First what was dropped: it may be wanted again.
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
        messages.extend(portions(unsubscribe).map(|names| DeltaDiscoveryRequest {
            resource_names_unsubscribe: names,
            ..request(type_url::ENDPOINT)
        }));
        messages.extend(portions(subscribe).map(|names| DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            ..request(type_url::ENDPOINT)
        }));
        messages
    }

    /// istiod reports what has vanished since only of names that it is told here; their versions do not count.
    fn first_of_clusters(&mut self) -> DeltaDiscoveryRequest {
        let names = self.clusters.names().map(|name| (name, String::new())).collect();
        let first = DeltaDiscoveryRequest { initial_resource_versions: names, ..request(type_url::CLUSTER) };
        self.replaces_clusters = first.encoded_len() > MOST_BYTES;
        if self.replaces_clusters { request(type_url::CLUSTER) } else { first }
    }

    /// What the open stream has been asked for and has not answered, if anything.
    pub(crate) fn unanswered(&self) -> Option<&'static str> {
        self.unanswered.first().copied()
    }

    /// A response on the open stream.
    ///
    /// # Errors
    ///
    /// The stream has not subscribed to this type. Nothing may be said about it then.
    pub(crate) fn receive(&mut self, mut response: DeltaDiscoveryResponse) -> Result<Reaction, Error> {
        // Without content it only says that it still holds (xDS, "TTL").
        response.resources.retain(|resource| resource.resource.is_some());
        let nonce = std::mem::take(&mut response.nonce);
        let (type_url, (update, problems)) = match &*response.type_url {
            type_url::NAME_TABLE => (type_url::NAME_TABLE, self.names(response)),
            type_url::PROXY_CONFIG => (type_url::PROXY_CONFIG, roots(response)),
            type_url::CLUSTER if self.subscribed.clusters => (type_url::CLUSTER, self.clusters(response)),
            type_url::ENDPOINT if self.has_endpoints => (type_url::ENDPOINT, self.endpoints(response)),
            other => {
                let message = format!("istiod sent {other}, which nobody asked for");
                return Err(Error::new(ErrorKind::InvalidResource, message));
            }
        };
        self.unanswered.remove(type_url);
        let mut reply = DeltaDiscoveryRequest { response_nonce: nonce, ..request(type_url) };
        let rejected = (!problems.is_empty()).then(|| {
            let message = problems.join("; ");
            let code = tonic::Code::InvalidArgument as i32;
            reply.error_detail = Some(Status { code, message: message.clone() });
            let message =
                format!("a push of istiod's was rejected, what was known before stays in use: {message}");
            Error::new(ErrorKind::InvalidResource, message)
        });
        Ok(Reaction { type_url, reply, update, rejected })
    }

    /// A push of names is one resource without a name, the whole table. An answer without it says nothing new, and neither
    /// does the table that each new stream begins with where nothing has changed: istiod writes it in the same order.
    fn names(&mut self, mut response: DeltaDiscoveryResponse) -> (Option<Update>, Vec<String>) {
        if response.resources.is_empty() {
            return (None, Vec::new());
        }
        let (_, wire) = value(response.resources.swap_remove(0));
        let fingerprint = Some(FixedState::with_seed(0).hash_one(&wire));
        if self.names == fingerprint {
            return (Some(Update::Names(None)), Vec::new());
        }
        match NameTable::decode(wire) {
            Ok(table) => {
                self.names = fingerprint;
                (Some(Update::Names(Some(table))), Vec::new())
            }
            Err(error) => (None, vec![format!("name table: {error}")]),
        }
    }

    /// A good cluster of a push is taken although another one is bad, as xDS allows.
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
            match Endpoints::decode(value) {
                Ok(endpoints) => all.push((name, endpoints)),
                Err(error) => problems.push(format!("endpoints of {name}: {error}")),
            }
        }
        // istiod sends an empty assignment for a deleted service; other control planes remove it.
        let removed = response.removed_resources.iter().filter_map(|name| subscribed(name));
        all.extend(removed.map(|name| (name, Endpoints::default())));
        ((!all.is_empty()).then_some(Update::Endpoints(all)), problems)
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

#[cfg(test)]
mod tests;
