//! The resources of one node: its names, its clusters, and the endpoints of each cluster that may have any.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mesh_tests::ads::{Credentials, Server, Stream};
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType},
            },
            core::v3::Node,
            endpoint::v3::ClusterLoadAssignment,
        },
        service::discovery::v3::DeltaDiscoveryResponse,
    },
    istio::networking::nds::v1::NameTable,
    type_url,
};

/// The timeout for a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream, and the state that its responses add up to.
pub(crate) struct View {
    stream: Stream,
    pub(crate) names: Option<NameTable>,
    pub(crate) clusters: Option<BTreeMap<String, Cluster>>,
    pub(crate) endpoints: BTreeMap<String, ClusterLoadAssignment>,
    subscribed: BTreeSet<String>,
}

impl View {
    /// Subscribes to all types and waits until all resources have arrived.
    pub(crate) async fn open(server: &Server, credentials: &Credentials, node: &Node) -> Self {
        let stream = server.stream(credentials).await;
        stream.introduce(node, type_url::CLUSTER).await;
        stream.subscribe(type_url::NAME_TABLE, &[]).await;
        let mut view = Self {
            stream,
            names: None,
            clusters: None,
            endpoints: BTreeMap::new(),
            subscribed: BTreeSet::new(),
        };
        view.complete().await;
        view
    }

    async fn complete(&mut self) {
        while !self.is_complete() {
            let Some(response) = self.stream.within(PATIENCE).await else {
                let missing: Vec<_> =
                    self.subscribed.iter().filter(|name| !self.endpoints.contains_key(*name)).collect();
                panic!(
                    "no response; names received: {}, clusters received: {}, missing endpoints: {missing:?}",
                    self.names.is_some(),
                    self.clusters.is_some()
                );
            };
            self.take(&response).await;
        }
    }

    fn is_complete(&self) -> bool {
        self.names.is_some()
            && self.clusters.is_some()
            && self.subscribed.iter().all(|name| self.endpoints.contains_key(name))
    }

    /// Receives responses within this time, and returns whether any arrived.
    pub(crate) async fn changes_within(&mut self, time: Duration) -> bool {
        let Some(response) = self.stream.within(time).await else { return false };
        self.take(&response).await;
        self.complete().await;
        true
    }

    async fn take(&mut self, response: &DeltaDiscoveryResponse) {
        self.stream.ack(response).await;
        let resources = response.resources.iter();
        let each = resources.map(|it| (it.name.clone(), it.resource.as_ref().expect("a resource")));
        match response.type_url.as_str() {
            type_url::NAME_TABLE => {
                for (_, table) in each {
                    self.names = Some(any::unpack(table).expect("a name table"));
                }
            }
            type_url::CLUSTER => {
                let clusters = self.clusters.get_or_insert_default();
                for name in &response.removed_resources {
                    clusters.remove(name);
                }
                for (name, cluster) in each {
                    clusters.insert(name, any::unpack(cluster).expect("a cluster"));
                }
                self.follow().await;
            }
            type_url::ENDPOINT => {
                // Assignments may arrive after they were unsubscribed.
                for (name, assignment) in each.filter(|(name, _)| self.subscribed.contains(name)) {
                    self.endpoints.insert(name, any::unpack(assignment).expect("an assignment"));
                }
            }
            _ => panic!("{response:?}"),
        }
    }

    /// Subscribes to the endpoints of new clusters and unsubscribes from those of removed clusters.
    async fn follow(&mut self) {
        let clusters = self.clusters.iter().flatten();
        let wanted: BTreeSet<String> =
            clusters.filter(|(_, cluster)| has_endpoints(cluster)).map(|(name, _)| name.clone()).collect();
        let new: Vec<_> = wanted.difference(&self.subscribed).map(String::as_str).collect();
        if !new.is_empty() {
            self.stream.subscribe(type_url::ENDPOINT, &new).await;
        }
        let gone: Vec<_> = self.subscribed.difference(&wanted).cloned().collect();
        if !gone.is_empty() {
            self.stream.unsubscribe(type_url::ENDPOINT, &gone).await;
            self.endpoints.retain(|name, _| wanted.contains(name));
        }
        self.subscribed = wanted;
    }
}

/// EDS also contains headless services, although Envoy does not subscribe to them.
fn has_endpoints(cluster: &Cluster) -> bool {
    let of_kind =
        |kind: DiscoveryType| cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(kind.into()));
    cluster.name.starts_with("outbound|")
        && (of_kind(DiscoveryType::Eds) || of_kind(DiscoveryType::OriginalDst))
}
