//! The xDS server. It answers subscriptions and pushes changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
};

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use xds_proto::{
    any,
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
        aggregated_discovery_service_server::AggregatedDiscoveryService,
    },
    google::protobuf::Any,
    istio::networking::nds::v1::{NameTable, name_table::NameInfo},
    type_url,
};

use super::istiod::{Connectivity, Istiod};

pub(super) struct DiscoveryType(pub(super) Istiod);

impl Istiod {
    /// Replaces the name table.
    pub(crate) fn set_names(&self, names: &[(&str, &str)]) {
        let info = |ip: &str| NameInfo { ips: vec![ip.to_owned()], ..NameInfo::default() };
        let table = names.iter().map(|(name, ip)| ((*name).to_owned(), info(ip))).collect();
        self.set_resource(type_url::NAME_TABLE, "", any::pack(type_url::NAME_TABLE, &NameTable { table }));
    }

    /// Sets a resource of a type.
    pub(crate) fn set_resource(&self, kind: &str, name: &str, value: Any) {
        self.0.resources.send_modify(|all| {
            all.insert((kind.to_owned(), name.to_owned()), value);
        });
    }

    /// Returns all requests of all streams.
    pub(crate) fn requests(&self) -> Vec<DeltaDiscoveryRequest> {
        self.0.requests.borrow().clone()
    }

    /// Waits for a request that satisfies the condition.
    pub(crate) async fn requested(&self, like: impl Fn(&DeltaDiscoveryRequest) -> bool) {
        let mut requests = self.0.requests.subscribe();
        requests.wait_for(|all| all.iter().any(&like)).await.unwrap();
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for DiscoveryType {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.0.authenticate(&request)?;
        self.0.0.streams.send_modify(|streams| *streams += 1);
        let (responses, queue) = mpsc::channel(16);
        let conversation = Conversation {
            istiod: self.0.clone(),
            responses,
            watched: BTreeMap::new(),
            sent: BTreeMap::new(),
            nonce: 0,
        };
        tokio::spawn(conversation.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}

struct Conversation {
    istiod: Istiod,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    /// The names of each subscribed type; empty for wildcard types.
    watched: BTreeMap<String, BTreeSet<String>>,
    sent: BTreeMap<(String, String), Any>,
    nonce: u64,
}

impl Conversation {
    async fn run(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        let mut resources = self.istiod.0.resources.subscribe();
        let mut ends = self.istiod.0.ends.subscribe();
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.take(request).await,
                    _ => return,
                },
                changed = resources.changed() => {
                    if changed.is_err() { return }
                    let types: Vec<_> = self.watched.keys().cloned().collect();
                    for kind in types {
                        self.push(&kind, false).await;
                    }
                }
                _ = ends.changed() => return,
            }
        }
    }

    async fn take(&mut self, request: DeltaDiscoveryRequest) {
        self.istiod.0.requests.send_modify(|all| all.push(request.clone()));
        if !request.response_nonce.is_empty()
            || self.istiod.0.settings.lock().connectivity == Connectivity::NoResponses
        {
            return;
        }
        let kind = request.type_url;
        let watched = self.watched.entry(kind.clone()).or_default();
        watched.extend(request.resource_names_subscribe.iter().cloned());
        request.resource_names_unsubscribe.iter().for_each(|name| {
            watched.remove(name);
        });
        self.sent.retain(|(sent, name), _| *sent != kind || !request.resource_names_subscribe.contains(name));
        self.push(&kind, kind == type_url::CLUSTER).await;
    }

    /// Returns the resources of a type that were not sent yet. A missing endpoint is an empty assignment.
    async fn push(&mut self, kind: &str, even_if_empty: bool) {
        let all = self.istiod.0.resources.borrow().clone();
        let watched = &self.watched[kind];
        let wanted = |(sent, name): &(String, String)| {
            sent == kind && (kind != type_url::ENDPOINT || watched.contains(name))
        };
        let mut fresh: BTreeMap<_, _> = all.into_iter().filter(|(key, _)| wanted(key)).collect();
        if kind == type_url::ENDPOINT {
            for name in watched {
                fresh
                    .entry((kind.to_owned(), name.clone()))
                    .or_insert_with(|| Any { type_url: kind.to_owned(), value: bytes::Bytes::new() });
            }
        }
        fresh.retain(|key, value| self.sent.get(key) != Some(value));
        if fresh.is_empty() && !even_if_empty {
            return;
        }
        self.nonce += 1;
        let resources = fresh.iter().map(|((_, name), value)| Resource {
            name: name.clone(),
            resource: Some(value.clone()),
            version: String::new(),
        });
        let response = DeltaDiscoveryResponse {
            type_url: kind.to_owned(),
            nonce: self.nonce.to_string(),
            resources: resources.collect(),
            ..DeltaDiscoveryResponse::default()
        };
        self.sent.extend(fresh);
        let _ = self.responses.send(Ok(response)).await;
    }
}
