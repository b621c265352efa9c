//! The gRPC service `AggregatedDiscoveryService`, delta variant: one task per stream, which drives a [`Session`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::authenticate::{Caller, Peer};
use super::session::{Answer, HEALTH, Session};
use super::{Process, Shared, Snapshot};
use crate::events::{AdsConnection, Event, NAMES};
use crate::listen;
use crate::pki::spiffe;
use crate::tasks::TaskGroup;
use crate::xds::Proxy;

/// The ADS service of istiod.
#[derive(Debug)]
pub(crate) struct DiscoveryService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) process: Arc<Process>,
    pub(crate) streams: Arc<TaskGroup>,
}

type Outgoing = mpsc::Sender<Message>;

/// A message from the task of a stream to its client.
#[derive(Debug)]
enum Message {
    Response(DeltaDiscoveryResponse),
    /// The end of the stream, with the status that istiod sends. `None` if the client has ended the stream.
    End(Option<Status>),
}

/// The responses of a stream. When istiod crashes, the task ends without a message and this stream never ends: the
/// client learns of the crash from the connection, as with a real istiod, and not from a status.
#[derive(Debug)]
pub(crate) struct Responses {
    first: Option<Message>,
    rest: mpsc::Receiver<Message>,
}

impl tokio_stream::Stream for Responses {
    type Item = Result<DeltaDiscoveryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.poll_recv(context),
        };
        match next {
            Poll::Ready(Some(Message::Response(response))) => Poll::Ready(Some(Ok(response))),
            Poll::Ready(Some(Message::End(status))) => Poll::Ready(status.map(Err)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for DiscoveryService {
    type DeltaAggregatedResourcesStream = Responses;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        // Clients are authenticated once per stream (istio `pilot/pkg/xds/ads.go`).
        let caller =
            self.shared.authenticate(request.metadata(), request.extensions()).map_err(|reason| {
                tracing::info!(reason, "rejected an ADS stream: authentication failed");
                Status::unauthenticated("authentication failure")
            })?;
        let peer = request.extensions().get::<Peer>().map_or(listen::ANY, |peer| peer.address);
        let (outgoing, mut responses) = mpsc::channel(16);
        let stream = Stream {
            shared: self.shared.clone(),
            process: self.process.clone(),
            snapshots: self.shared.snapshots.clone(),
            outgoing,
            caller,
            peer,
            id: STREAMS.fetch_add(1, Ordering::Relaxed),
        };
        self.streams.spawn(stream.run(request.into_inner()));
        // grpc-go sends the response headers with the first message, and sends none before an error. A client that
        // waits for the headers before it sends a message waits forever, here as well.
        match responses.recv().await {
            Some(Message::End(Some(status))) => Err(status),
            Some(first) => Ok(Response::new(Responses { first: Some(first), rest: responses })),
            None => std::future::pending().await,
        }
    }
}

/// The number of the next stream. istiod numbers its ADS streams.
static STREAMS: AtomicU64 = AtomicU64::new(1);

struct Stream {
    shared: Arc<Shared>,
    process: Arc<Process>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    outgoing: Outgoing,
    caller: Caller,
    peer: std::net::SocketAddr,
    id: u64,
}

/// The reason why a stream ends.
enum End {
    /// istiod crashed, or the sandbox was dropped.
    Crash,
    /// The client closed the stream, or the connection broke.
    Gone,
    /// istiod ends the stream with a status.
    Status(Status),
}

impl Stream {
    async fn run(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        let outcome = self.converse(&mut requests).await;
        if let Some(connection) = self.shared.connections.lock().remove(&self.id) {
            self.shared.events.record(Event::AdsDisconnected { node: connection.node });
        }
        let status = match outcome {
            Ok(()) | Err(End::Gone) => None,
            Err(End::Crash) => return,
            Err(End::Status(status)) => Some(status),
        };
        // Sending fails only if the client has gone.
        let _ = self.outgoing.send(Message::End(status)).await;
    }

    async fn converse(&mut self, requests: &mut Streaming<DeltaDiscoveryRequest>) -> Result<(), End> {
        let first = self.first(requests).await?;
        let proxy = self.introduce(&first)?;
        let snapshot = self.snapshots.borrow_and_update().clone();
        let mut session = Session::new(proxy, self.caller.identity.clone(), &snapshot);
        self.request(&mut session, &first).await?;
        loop {
            tokio::select! {
                // Requests come first: a client may need a response before it starts.
                biased;
                request = requests.message() => match request {
                    Ok(Some(request)) => self.request(&mut session, &request).await?,
                    Ok(None) | Err(_) => return Err(End::Gone),
                },
                changed = self.snapshots.changed() => {
                    changed.map_err(|_| End::Crash)?;
                    let snapshot = self.snapshots.borrow_and_update().clone();
                    let responses = session.push(&snapshot);
                    self.send(&session, responses).await?;
                }
            }
        }
    }

    /// Receives the first request. Health reports that arrive earlier are ignored (istio `pkg/xds/server.go`).
    async fn first(
        &self,
        requests: &mut Streaming<DeltaDiscoveryRequest>,
    ) -> Result<DeltaDiscoveryRequest, End> {
        loop {
            match requests.message().await {
                Ok(Some(request)) if request.type_url == HEALTH => {}
                Ok(Some(request)) => return Ok(request),
                Ok(None) | Err(_) => return Err(End::Gone),
            }
        }
    }

    /// Reads the node, and checks that its namespace and service account are those of the authenticated identity (istio
    /// `pilot/pkg/xds/auth.go`).
    fn introduce(&self, first: &DeltaDiscoveryRequest) -> Result<Proxy, End> {
        let node = first.node.as_ref().filter(|node| !node.id.is_empty());
        let node = node.ok_or_else(|| End::Status(Status::invalid_argument("missing node information")))?;
        let proxy = Proxy::read(node).map_err(|problem| End::Status(Status::invalid_argument(problem)))?;
        let is_own = spiffe::parse(&self.caller.identity).is_some_and(|(namespace, account)| {
            (proxy.namespace.is_empty() || proxy.namespace == namespace)
                && (proxy.service_account.is_empty() || proxy.service_account == account)
        });
        if !is_own {
            return Err(End::Status(Status::permission_denied(format!(
                "authorization failed: no identities ([{}]) matched {}/{}",
                self.caller.identity, proxy.namespace, proxy.service_account
            ))));
        }
        let node = proxy.node_id.clone();
        let identity = self.caller.identity.clone();
        self.shared.events.record(Event::AdsConnected { node: node.clone(), identity: identity.clone() });
        let connection = AdsConnection { node, identity, peer: self.peer, subscriptions: Vec::new() };
        self.shared.connections.lock().insert(self.id, connection);
        Ok(proxy)
    }

    async fn request(&self, session: &mut Session, request: &DeltaDiscoveryRequest) -> Result<(), End> {
        let snapshot = self.snapshots.borrow().clone();
        let answer = session.request(&snapshot, request);
        if let Some(connection) = self.shared.connections.lock().get_mut(&self.id) {
            connection.subscriptions = session.subscriptions();
        }
        match answer {
            Answer::Send(responses) => self.send(session, responses).await,
            Answer::Rejected(rejection) => {
                self.shared.events.record(Event::AdsRejected(rejection));
                Ok(())
            }
            Answer::End(status) => Err(End::Status(status)),
            Answer::Crash(reason) => {
                self.shared.events.record(Event::IstiodCrashed { reason });
                self.process.crash();
                Err(End::Crash)
            }
        }
    }

    async fn send(&self, session: &Session, responses: Vec<DeltaDiscoveryResponse>) -> Result<(), End> {
        for response in responses {
            self.shared.wait_for_delay().await;
            let resources = response.resources.iter().map(|resource| resource.name.clone());
            let removed = response.removed_resources.iter().cloned();
            self.shared.events.record(Event::AdsSent {
                node: session.proxy.node_id.clone(),
                type_url: response.type_url.clone(),
                resources: resources.take(NAMES).collect(),
                count: response.resources.len(),
                removed: removed.take(NAMES).collect(),
            });
            self.outgoing.send(Message::Response(response)).await.map_err(|_| End::Gone)?;
        }
        Ok(())
    }
}
