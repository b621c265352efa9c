//! One stream from its first message to its end.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use xds_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};

use super::{
    publish,
    session::Session,
    watchdog::{Due, Watchdog},
};
use crate::{
    error::{Error, ErrorKind},
    identity::{Identity, credentials::Credentials, root_store},
    istiod::{Connection, Connector, authorize, status_error},
    metrics,
    state::State,
};

/// The maximum number of messages in the queue of tonic. Further messages wait in [`Stream`], where they do not block
/// reading.
const QUEUE: usize = 16;
/// The number of unsent messages at which the stream stops reading, because each response creates another message.
const MAX_UNSENT: usize = 64;

/// An open stream.
pub(super) struct Stream<'a> {
    state: &'a State,
    session: &'a mut Session,
    connection: Connection,
    unsent: VecDeque<DeltaDiscoveryRequest>,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    watchdog: Watchdog,
    synced: &'a Notify,
    /// Whether a response was received.
    received: bool,
}

/// The end of a stream.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// The stream received a response and ended. `None` is a normal end: istiod ends streams every half hour.
    AfterSync(Option<Error>),
    /// The stream could not be opened, or ended before the first response.
    Failed(Error),
    /// The stream received a response and then stalled, or received a message that is too large. Without a delay, the
    /// next stream would end in the same way.
    Stalled(Error),
}

/// The parameters of a stream.
pub(super) struct StreamParams<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) credentials: Credentials,
    /// Whether the stream uses the token although a certificate can be used.
    pub(super) token_instead: bool,
    /// The number of failed attempts since the last good stream.
    pub(super) failures: u32,
    /// The number of consecutive streams that stalled: istiod did not answer a request in time.
    pub(super) stalled: u32,
    /// Notified after a valid name table.
    pub(super) synced: &'a Notify,
}

impl<'a> Stream<'a> {
    /// Connects and sends the first messages.
    pub(super) async fn open(
        state: &'a State,
        session: &'a mut Session,
        params: &StreamParams<'a>,
    ) -> Result<Self, Error> {
        let config = &state.runtime.config;
        let roots = match &config.istiod_roots[..] {
            [] => params.identity.roots().clone(),
            own => Arc::new(root_store(&[&state.identity.roots().union()[..], own].concat())?),
        };
        let (runtime, failures) = (&state.runtime, params.failures);
        let connector = Connector { runtime, servers: &config.discovery, roots, failures };
        let connection = connector.connect(&params.credentials).await?;
        let mut unsent: VecDeque<_> = session.open(state.subscriptions.all()).into();
        let (requests, queue) = mpsc::channel(QUEUE);
        // istiod sends response headers only after a request, so the first messages are queued before the call.
        let first = unsent.drain(..unsent.len().min(QUEUE));
        for message in first {
            metrics::request_sent();
            requests.try_send(message).map_err(|_| Error::closed())?;
        }
        let mut call = tonic::Request::new(ReceiverStream::new(queue));
        authorize(&mut call, &connection.credentials, &config.cluster_id, &config.xds_headers)?;
        let watchdog = Watchdog::new(Instant::now(), params.stalled, fastrand::f64());
        let mut client = AggregatedDiscoveryServiceClient::new(connection.channel.clone())
            .max_decoding_message_size(config.max_push_bytes);
        let responses = tokio::select! {
            responses = client.delta_aggregated_resources(call) => responses,
            () = sleep_until(watchdog.next()) => return Err(silence(state, session, &watchdog)),
        };
        let responses = responses.map_err(|status| status_error(runtime, &connection, status))?.into_inner();
        if params.token_instead {
            // istiod accepts the token, so it rejected the certificate in an earlier attempt without a visible alert.
            state.identity.reject();
        }
        let synced = params.synced;
        Ok(Self {
            state,
            session,
            connection,
            unsent,
            requests,
            responses,
            watchdog,
            synced,
            received: false,
        })
    }

    /// Exchanges messages until the stream ends.
    pub(super) async fn exchange(mut self) -> StreamEnd {
        loop {
            let readable = self.unsent.len() < MAX_UNSENT;
            tokio::select! {
                response = self.responses.message(), if readable => match response {
                    Ok(Some(response)) => {
                        self.received = true;
                        metrics::response_received();
                        if let Some(received) = publish::receive(self.state, self.session, response) {
                            self.unsent.push_back(received.reply);
                            if received.names {
                                self.synced.notify_one();
                            }
                        }
                    }
                    Ok(None) => return self.ended(None),
                    Err(status) => return self.ended(Some(status)),
                },
                () = self.state.subscriptions.changed() => {
                    self.unsent.extend(self.session.change(self.state.subscriptions.change()));
                }
                permit = self.requests.reserve(), if !self.unsent.is_empty() => match (permit, self.unsent.pop_front()) {
                    (Ok(permit), Some(message)) => {
                        metrics::request_sent();
                        permit.send(message);
                    }
                    // The stream has ended. The next read of a response returns the reason.
                    _ => self.unsent.clear(),
                },
                () = sleep_until(self.watchdog.next()) => match self.watchdog.due(Instant::now()) {
                    Some(Due::GiveUp) => return self.stalled(),
                    Some(Due::Renew) => return StreamEnd::AfterSync(None),
                    Some(Due::Sweep) => {
                        publish::drop_idle(self.state);
                        self.unsent.extend(self.session.change(self.state.subscriptions.change()));
                    }
                    None => {}
                },
            }
            self.watchdog.set_awaiting(self.session.unanswered().is_some(), Instant::now());
        }
    }

    fn ended(&self, status: Option<Status>) -> StreamEnd {
        if let Some(status) = status.as_ref().filter(|status| status.code() == Code::OutOfRange) {
            let error = status_error(&self.state.runtime, &self.connection, status.clone());
            // The type is that of an unanswered request, unless istiod has pushed the message without a request. Then the
            // next stream requests it.
            if let Some(type_url) = self.session.unanswered() {
                self.state.health.push_rejected(Some(type_url), error.clone());
            }
            return StreamEnd::Stalled(error);
        }
        match status.map(|status| status_error(&self.state.runtime, &self.connection, status)) {
            error if self.received => StreamEnd::AfterSync(error),
            Some(error) => StreamEnd::Failed(error),
            None => StreamEnd::Failed(Error::new(
                ErrorKind::Unavailable,
                "istiod closed the stream before the first response",
            )),
        }
    }

    fn stalled(&self) -> StreamEnd {
        let error = silence(self.state, self.session, &self.watchdog);
        if self.received { StreamEnd::Stalled(error) } else { StreamEnd::Failed(error) }
    }
}

fn silence(state: &State, session: &Session, watchdog: &Watchdog) -> Error {
    let message = format!(
        "istiod at {} accepted the connection but did not answer the request for {} within {:?}",
        state.runtime.config.istiod_address(),
        session.unanswered().unwrap_or("the stream"),
        watchdog.timeout()
    );
    Error::new(ErrorKind::Unavailable, message)
}
