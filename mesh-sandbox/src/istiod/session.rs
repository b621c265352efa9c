//! One delta ADS stream as a state machine: requests and pushes in, responses out (istio `pilot/pkg/xds/delta.go`). It
//! does no IO and never waits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tonic::Status;
use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use xds_proto::google::protobuf::Any;
use xds_proto::{any, type_url};

use super::Snapshot;
use super::changes::Since;
use super::subscription::{Change, Subscription};
use crate::events::Rejection;
use crate::model::Scope;
use crate::xds::name::ClusterName;
use crate::xds::{Proxy, cds};

/// The state of a stream after its first request.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) proxy: Proxy,
    /// The authenticated identity of the client.
    identity: String,
    subscriptions: BTreeMap<String, Subscription>,
    /// The number of the last push that this stream has handled.
    seen: u64,
    broken_names: u64,
}

/// The result of processing a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Responses to send, possibly none.
    Send(Vec<DeltaDiscoveryResponse>),
    /// A NACK, which is recorded and not answered.
    Rejected(Rejection),
    /// istiod ends the stream with this status.
    End(Status),
    /// istiod dereferences a nil pointer and crashes. The string is the reason.
    Crash(String),
}

/// Resource types for which istiod accepts a request without a response: istiod has neither a PCDS trust bundle nor
/// secrets for a sidecar.
const SILENT: [&str; 2] = [
    "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
];
/// Resource types for which istiod sends an empty response: ambient mode and extensions are off.
const EMPTY: [&str; 4] = [
    "type.googleapis.com/istio.workload.Address",
    "type.googleapis.com/istio.workload.Workload",
    "type.googleapis.com/istio.security.Authorization",
    "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
];
/// Resource types that a real istiod serves and the sandbox does not.
const ABSENT: [&str; 2] = [
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
];
/// The resource type of debug information, which only identities of the control plane's namespace may request.
const DEBUG: &str = "istio.io/debug";
/// The resource type of health reports of registered workloads. istiod accepts the reports without a response.
pub(crate) const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";

impl Session {
    pub(crate) fn new(proxy: Proxy, identity: String, snapshot: &Snapshot) -> Self {
        Self {
            proxy,
            identity,
            subscriptions: BTreeMap::new(),
            seen: snapshot.changes.now,
            broken_names: snapshot.broken_names,
        }
    }

    /// Returns the subscribed resource types, each with the subscribed names.
    pub(crate) fn subscriptions(&self) -> Vec<(String, Vec<String>)> {
        let each = self.subscriptions.iter();
        each.map(|(kind, subscription)| (kind.clone(), subscription.names.iter().cloned().collect()))
            .collect()
    }

    /// Processes a request of the client.
    pub(crate) fn request(&mut self, snapshot: &Snapshot, request: &DeltaDiscoveryRequest) -> Answer {
        let kind = request.type_url.as_str();
        if kind == HEALTH {
            return Answer::Send(Vec::new());
        }
        if kind.starts_with(DEBUG) {
            return Answer::End(Status::permission_denied(format!(
                "the debug info is not available for current identity: {:?}",
                self.identity
            )));
        }
        if ABSENT.contains(&kind) {
            return Answer::End(Status::unimplemented(format!("the sandbox does not serve {kind}")));
        }
        if let Some(error) = &request.error_detail {
            // This check comes before the lookup of the type: a NACK for a type without a subscription crashes istiod.
            if !self.subscriptions.contains_key(kind) {
                return Answer::Crash(format!(
                    "a request contains error_detail for {kind}, but the stream has no subscription to this type"
                ));
            }
            return Answer::Rejected(Rejection {
                node: self.proxy.node_id.clone(),
                type_url: kind.to_owned(),
                nonce: request.response_nonce.clone(),
                code: error.code,
                message: error.message.clone(),
            });
        }
        let Some(subscription) = self.subscriptions.get_mut(kind) else {
            // The first request of this type on this stream is answered in full, whatever its nonce is.
            let mut subscription = Subscription::default();
            let change = subscription.apply(request);
            self.subscriptions.insert(kind.to_owned(), subscription);
            return self.answer(snapshot, kind, &change);
        };
        if !request.response_nonce.is_empty() && request.response_nonce != subscription.nonce_sent {
            // A stale nonce: the request is ignored, together with its subscriptions (istio `pilot/pkg/xds/delta.go`).
            return Answer::Send(Vec::new());
        }
        let change = subscription.apply(request);
        if !change.changed {
            return Answer::Send(Vec::new());
        }
        self.answer(snapshot, kind, &change)
    }

    fn answer(&mut self, snapshot: &Snapshot, kind: &str, change: &Change) -> Answer {
        let mut responses = Vec::new();
        match kind {
            type_url::NAME_TABLE => responses.push(self.send_names(snapshot, &change.subscribed)),
            type_url::CLUSTER => {
                responses.push(self.send_all_clusters(snapshot, &change.subscribed));
                // A response with clusters is followed by the endpoints of all subscribed clusters (istio
                // `pilot/pkg/xds/delta.go`).
                let subscribed = self.subscribed_names(type_url::ENDPOINT);
                responses.extend(self.send_endpoints(snapshot, &subscribed));
            }
            type_url::ENDPOINT if change.names_nothing => {
                let subscribed = self.subscribed_names(type_url::ENDPOINT);
                responses.extend(self.send_endpoints(snapshot, &subscribed));
            }
            type_url::ENDPOINT => responses.extend(self.send_endpoints(snapshot, &change.subscribed)),
            kind if SILENT.contains(&kind) => {}
            kind if EMPTY.contains(&kind) => {
                let subscription = self.subscriptions.entry(kind.to_owned()).or_default();
                responses.push(response(snapshot, kind, subscription, Vec::new(), Vec::new()));
            }
            _ => {
                // The generator for all other types requires an identity of the root namespace (istio
                // `pilot/pkg/networking/apigen/apigen.go`).
                return Answer::End(Status::permission_denied(
                    "the api generator is restricted to the control-plane (root) namespace",
                ));
            }
        }
        Answer::Send(responses)
    }

    /// Handles a new snapshot: returns the changed resources for this proxy, xDS clusters first and the name table
    /// last.
    pub(crate) fn push(&mut self, snapshot: &Snapshot) -> Vec<DeltaDiscoveryResponse> {
        let since = snapshot.changes.since(self.seen);
        let broken = snapshot.broken_names != self.broken_names;
        self.seen = snapshot.changes.now;
        self.broken_names = snapshot.broken_names;
        let mut responses = Vec::new();
        if self.subscriptions.contains_key(type_url::CLUSTER) {
            if since.is_forced() {
                let known = self.subscribed_names(type_url::CLUSTER);
                responses.push(self.send_all_clusters(snapshot, &known));
            } else {
                responses.extend(self.send_changed_clusters(snapshot, since));
            }
        }
        let mut stale = self.subscribed_names(type_url::ENDPOINT);
        let scope = snapshot.scope_for(&self.proxy);
        stale.retain(|name| {
            let (host, namespace) = Self::owner(&scope, name);
            since.touches_endpoints(host, namespace)
        });
        responses.extend(self.send_endpoints(snapshot, &stale));
        if self.subscriptions.contains_key(type_url::NAME_TABLE) {
            if broken {
                responses.push(self.send_broken_names(snapshot));
            } else if since.touches_names() || since.touches_scope(&self.proxy.namespace) {
                responses.push(self.send_names(snapshot, &BTreeSet::new()));
            }
        }
        responses
    }

    /// Returns the host in the name of a cluster, and the namespace of its service if the service exists.
    fn owner<'a>(scope: &'a Scope, cluster: &'a str) -> (&'a str, Option<&'a str>) {
        let Some(name) = ClusterName::parse(cluster) else { return ("", None) };
        (name.host, scope.service(name.host).map(|service| service.namespace.as_str()))
    }

    /// Builds a response with the whole name table in one resource without name and version. Names that the client
    /// requested are listed as removed (istio `pilot/pkg/xds/delta.go`).
    fn send_names(&mut self, snapshot: &Snapshot, asked: &BTreeSet<String>) -> DeltaDiscoveryResponse {
        let table = any::pack(type_url::NAME_TABLE, &snapshot.names_for(&self.proxy));
        self.send_table(snapshot, table, asked)
    }

    /// Builds a response with an invalid name table, to test the NACK of a client.
    fn send_broken_names(&mut self, snapshot: &Snapshot) -> DeltaDiscoveryResponse {
        let value = Bytes::from_static(&[0x0a, 0x7f, 0x01]);
        let table = Any { type_url: type_url::NAME_TABLE.to_owned(), value };
        self.send_table(snapshot, table, &BTreeSet::new())
    }

    fn send_table(
        &mut self,
        snapshot: &Snapshot,
        table: Any,
        asked: &BTreeSet<String>,
    ) -> DeltaDiscoveryResponse {
        let subscription = self.subscriptions.entry(type_url::NAME_TABLE.to_owned()).or_default();
        subscription.names = BTreeSet::from([String::new()]);
        let resource = Resource { resource: Some(table), ..Resource::default() };
        let removed = asked.iter().filter(|name| !name.is_empty()).cloned().collect();
        response(snapshot, type_url::NAME_TABLE, subscription, vec![resource], removed)
    }

    /// Builds a response with all clusters. Names in `known` that have no cluster are listed as removed.
    fn send_all_clusters(&mut self, snapshot: &Snapshot, known: &BTreeSet<String>) -> DeltaDiscoveryResponse {
        let clusters = by_name(snapshot.clusters_for(&self.proxy));
        let removed = known.iter().filter(|name| !clusters.contains_key(*name)).cloned().collect();
        let resources = clusters.values().map(cluster_resource).collect();
        let subscription = self.subscriptions.entry(type_url::CLUSTER.to_owned()).or_default();
        subscription.names = clusters.keys().cloned().collect();
        response(snapshot, type_url::CLUSTER, subscription, resources, removed)
    }

    /// Builds a CDS response with the clusters of changed services, and the three clusters that istiod sends to every
    /// proxy (such as `BlackHoleCluster`). Returns `None` if no cluster has changed.
    fn send_changed_clusters(
        &mut self,
        snapshot: &Snapshot,
        since: Since<'_>,
    ) -> Option<DeltaDiscoveryResponse> {
        let has_other_scope = since.touches_scope(&self.proxy.namespace);
        if !has_other_scope && !since.touches_any_cluster() {
            return None;
        }
        let clusters = by_name(snapshot.clusters_for(&self.proxy));
        let known = self.subscribed_names(type_url::CLUSTER);
        let removed: Vec<String> =
            known.iter().filter(|name| !clusters.contains_key(*name)).cloned().collect();
        let scope = snapshot.scope_for(&self.proxy);
        let is_changed = |name: &str| {
            let (host, namespace) = Self::owner(&scope, name);
            let is_new = || has_other_scope && !known.contains(name);
            !host.is_empty() && (since.touches_clusters(host, namespace) || is_new())
        };
        let changed: Vec<&Cluster> = clusters.values().filter(|cluster| is_changed(&cluster.name)).collect();
        if changed.is_empty() && removed.is_empty() && !has_other_scope {
            return None;
        }
        let fixed = clusters.values().filter(|cluster| cds::FIXED.contains(&cluster.name.as_str()));
        let resources = fixed.chain(changed).map(cluster_resource).collect();
        let subscription = self.subscriptions.get_mut(type_url::CLUSTER)?;
        subscription.names = clusters.keys().cloned().collect();
        Some(response(snapshot, type_url::CLUSTER, subscription, resources, removed))
    }

    fn subscribed_names(&self, kind: &str) -> BTreeSet<String> {
        self.subscriptions.get(kind).map(|subscription| subscription.names.clone()).unwrap_or_default()
    }

    /// Builds a response with the endpoints of the clusters in `names`. Returns `None` if `names` is empty. An unknown
    /// name gets an empty assignment (istio `pilot/pkg/xds/endpoints/endpoint_builder.go`).
    fn send_endpoints(
        &mut self,
        snapshot: &Snapshot,
        names: &BTreeSet<String>,
    ) -> Option<DeltaDiscoveryResponse> {
        if names.is_empty() {
            return None;
        }
        let subscription = self.subscriptions.get_mut(type_url::ENDPOINT)?;
        let mut resources = Vec::new();
        for name in names {
            let assignment = snapshot.endpoints_for(&self.proxy, name);
            resources.push(Resource {
                name: name.clone(),
                resource: Some(any::pack(type_url::ENDPOINT, &assignment)),
                ..Resource::default()
            });
        }
        Some(response(snapshot, type_url::ENDPOINT, subscription, resources, Vec::new()))
    }
}

fn by_name(clusters: Vec<Cluster>) -> BTreeMap<String, Cluster> {
    clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect()
}

fn cluster_resource(cluster: &Cluster) -> Resource {
    Resource {
        name: cluster.name.clone(),
        resource: Some(any::pack(type_url::CLUSTER, cluster)),
        ..Resource::default()
    }
}

fn response(
    snapshot: &Snapshot,
    kind: &str,
    subscription: &mut Subscription,
    resources: Vec<Resource>,
    removed_resources: Vec<String>,
) -> DeltaDiscoveryResponse {
    subscription.nonce_sent = format!("{}{:032x}", snapshot.version, fastrand::u128(..));
    DeltaDiscoveryResponse {
        system_version_info: snapshot.version.clone(),
        resources,
        type_url: kind.to_owned(),
        nonce: subscription.nonce_sent.clone(),
        removed_resources,
    }
}
