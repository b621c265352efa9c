//! Keeps a stream open and publishes what comes over it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use xds_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};

use super::{
    node::node,
    session::{Session, Update},
};
use crate::{
    Error, ErrorKind, Identity, SyncState,
    backoff::Backoff,
    duration::Rough,
    identity::{Token, root_store},
    istiod::{Connection, Connector, Credentials, is_certificate_refused},
    state::State,
};

/// A large mesh comes as one message; istio's own clients set no limit (istio `pkg/istio-agent/xds_proxy.go`).
const DECODE_LIMIT: usize = i32::MAX as usize;
/// How many messages to istiod may wait. A stream begins with up to three; one more follows each response.
const QUEUE: usize = 16;
/// A stream that lived this long was a good one: the next is opened without delay, but not at once with all others.
const RECONNECT_JITTER: Duration = Duration::from_millis(100);

/// Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let mut session = Session::new(node(&state.config));
    let mut backoff = Backoff::default();
    let mut refused = None;
    let mut failures = 0u32;
    loop {
        let identity = identity(&state).await;
        let outcome =
            stream(&state, &mut session, &identity, refused == Some(identity.epoch()), failures).await;
        let wait = match outcome {
            Ended::AfterSync(error) => {
                backoff.reset();
                failures = 0;
                tracing::info!(
                    reason = error.as_ref().map(Error::report),
                    "the stream to istiod ended; reconnecting"
                );
                state.stream_failed(error);
                RECONNECT_JITTER.mul_f64(fastrand::f64())
            }
            // Only the token can help now.
            Ended::Failed(error) if is_certificate_refused(&error) && refused != Some(identity.epoch()) => {
                tracing::warn!(error = error.report(), "trying the token");
                refused = Some(identity.epoch());
                state.certificate_refused.notify_one();
                Duration::ZERO
            }
            Ended::Failed(error) => {
                failures = failures.saturating_add(1);
                let wait = backoff.next(fastrand::f64());
                tracing::warn!(error = error.report(), ?wait, "no stream to istiod");
                state.stream_failed(Some(error));
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn identity(state: &State) -> Arc<Identity> {
    let mut watched = state.identity.watched();
    loop {
        if let Some(identity) = &**watched.load() {
            return identity.clone();
        }
        if !watched.changed().await {
            std::future::pending().await
        }
    }
}

enum Ended {
    /// It was open and said something. `None` where istiod simply ended it, as it does every half hour.
    AfterSync(Option<Error>),
    Failed(Error),
}

async fn stream(
    state: &State,
    session: &mut Session,
    identity: &Arc<Identity>,
    refused: bool,
    failures: u32,
) -> Ended {
    // A refusal may look like a lost connection (its alert and the reset that follows race): the token has a turn.
    let refused = refused || (failures % 4 == 3 && state.config.token_file.is_some());
    let now = state.config.clock.now();
    let opened = match credentials(state, identity, refused, now) {
        Ok(credentials) => open(state, session, identity, &credentials, failures).await,
        Err(error) => Err(error),
    };
    let mut open = match opened {
        Ok(opened) => opened,
        Err(error) => return Ended::Failed(error),
    };
    let status = open.exchange(state, session).await;
    let error = status.map(|status| open.connection.error(&state.config, status));
    match error {
        Some(error) if !open.heard => Ended::Failed(error),
        None if !open.heard => Ended::Failed(Error::new(
            ErrorKind::Unavailable,
            "istiod ended the stream before it said anything",
        )),
        error => Ended::AfterSync(error),
    }
}

/// The certificate where it can be used, else the token: istiod fails the handshake of a bad certificate instead of
/// asking for the token.
fn credentials(
    state: &State,
    identity: &Arc<Identity>,
    refused: bool,
    now: SystemTime,
) -> Result<Credentials, Error> {
    if !refused && !identity.remaining(now).is_zero() {
        return Ok(Credentials::Certificate(identity.clone()));
    }
    let file = state.config.token_file().ok_or_else(|| {
        let id = identity.spiffe_id();
        match now.duration_since(identity.not_after()) {
            Ok(ago) => {
                let message =
                    format!("the certificate of {id} ended {} ago, and there is no token", Rough(ago));
                Error::new(ErrorKind::Unauthenticated, message)
            }
            Err(_) => {
                let message = format!("istiod refuses the certificate of {id}, and there is no token");
                Error::new(ErrorKind::Unauthenticated, message)
            }
        }
    })?;
    Ok(Credentials::Token(Arc::new(Token::read(file)?)))
}

async fn open(
    state: &State,
    session: &mut Session,
    identity: &Arc<Identity>,
    credentials: &Credentials,
    failures: u32,
) -> Result<Stream, Error> {
    let config = &state.config;
    let roots = match &config.istiod_roots[..] {
        [] => identity.roots().clone(),
        own => Arc::new(root_store(&[&state.identity.roots().union()[..], own].concat())?),
    };
    let connector = Connector { config, servers: &config.discovery, roots, failures };
    let connection = connector.connect(credentials).await?;
    let (requests, queue) = mpsc::channel(QUEUE);
    for message in session.open(state.wanted()) {
        // istiod answers with headers only once it has a message: the first ones wait in the queue.
        requests.try_send(message).map_err(|_| Error::closed())?;
    }
    let mut call = tonic::Request::new(ReceiverStream::new(queue));
    credentials.authorize(&mut call, &config.cluster_id, &config.xds_headers)?;
    let client = AggregatedDiscoveryServiceClient::new(connection.channel.clone());
    let responses = client
        .max_decoding_message_size(DECODE_LIMIT)
        .delta_aggregated_resources(call)
        .await
        .map_err(|status| connection.error(config, status))?
        .into_inner();
    Ok(Stream { connection, requests, responses, heard: false })
}

struct Stream {
    connection: Connection,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    /// Whether a response has come.
    heard: bool,
}

impl Stream {
    /// Until the stream ends: with a status, or without one.
    async fn exchange(&mut self, state: &State, session: &mut Session) -> Option<Status> {
        loop {
            tokio::select! {
                response = self.responses.message() => match response {
                    Ok(Some(response)) => {
                        self.heard = true;
                        let reply = receive(state, session, response);
                        self.send(reply).await?;
                    }
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                () = state.wanted_changed.notified() => self.send(session.want(state.wanted())).await?,
            }
        }
    }

    /// `None` when the stream has ended; its status comes with the next response.
    async fn send(&mut self, messages: impl IntoIterator<Item = DeltaDiscoveryRequest>) -> Option<()> {
        for message in messages {
            if self.requests.send(message).await.is_err() {
                return Some(());
            }
        }
        Some(())
    }
}

fn receive(
    state: &State,
    session: &mut Session,
    response: DeltaDiscoveryResponse,
) -> Option<DeltaDiscoveryRequest> {
    let reaction = session.receive(response);
    if let Some(error) = &reaction.rejected {
        tracing::warn!(error = error.report(), "a push was rejected");
    }
    match reaction.update {
        Some(Update::Names(table)) => {
            tracing::debug!(names = table.len(), "name table");
            state.names.publish(Arc::new(table));
            state.set_health(|health| {
                health.sync = SyncState::Synced;
                health.stream = None;
            });
        }
        Some(Update::Clusters(clusters)) => {
            tracing::debug!(clusters = clusters.len(), "clusters");
            state.clusters.publish(Arc::new(Some(Arc::new(clusters))));
        }
        Some(Update::Endpoints(changed)) => {
            let mut all = (*state.endpoints.watched().get()).clone();
            for (name, endpoints) in changed {
                tracing::debug!(cluster = name, endpoints = endpoints.iter().count(), "endpoints");
                all.insert(name, Arc::new(endpoints));
            }
            state.endpoints.publish(Arc::new(all));
        }
        Some(Update::Roots(roots)) => match state.identity.change_roots(|all| all.pushed = roots) {
            Ok(false) => {}
            Ok(true) => tracing::info!("istiod has pushed other roots"),
            Err(error) => tracing::warn!(error = error.report(), "the pushed roots cannot be used"),
        },
        None => {}
    }
    state.set_health(|health| health.rejected = reaction.rejected.or(health.rejected.take()));
    reaction.reply
}
