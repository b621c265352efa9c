//! Opens an xDS stream to istiod, and a new one each time a stream ends.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tracing::Instrument as _;

use super::{
    node::node,
    session::Session,
    stream::{Stream, StreamEnd, StreamParams},
};
use crate::{
    backoff::Backoff,
    duration::HumanDuration,
    error::{Error, ErrorKind},
    identity::{
        Identity, Token,
        credentials::{Choice, CredentialSelector, Credentials},
    },
    istiod::is_certificate_rejected,
    metrics,
    state::State,
};

/// The maximum of the random delay after a stream that ended normally. It spreads the reconnects of many clients.
const RECONNECT_JITTER: Duration = Duration::from_millis(100);
/// A stream that is replaced within this time does not make the health stale: istiod ends streams every half hour.
const GRACE: Duration = Duration::from_secs(5);

/// Opens streams and follows them until the future is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let mut driver = Driver {
        session: Session::new(node(&state.runtime.config), fastrand::u64(..)),
        state: &state,
        backoff: Backoff::default(),
        selector: CredentialSelector::default(),
        stalled: 0,
        lost: None,
        streams: 1,
    };
    loop {
        let wait = driver.one_stream().await;
        sleep(wait).await;
    }
}

struct Driver<'a> {
    state: &'a State,
    session: Session,
    backoff: Backoff,
    selector: CredentialSelector,
    /// The number of consecutive streams that stalled: istiod did not answer a request in time.
    stalled: u32,
    /// The number of the current stream, for the log.
    streams: u64,
    /// The time at which the last good stream ended; `None` if the health already reports the end.
    lost: Option<(Instant, SystemTime)>,
}

impl Driver<'_> {
    /// Opens a stream and follows it to its end. Returns the delay before the next one.
    async fn one_stream(&mut self) -> Duration {
        let identity = identity(self.state).await;
        self.state.identity.reload_roots(self.state.runtime.config.roots_file.as_deref());
        let end = match self.credentials(&identity).await {
            Ok((credentials, token_instead)) => {
                let span = tracing::info_span!(
                    "stream",
                    number = self.streams,
                    credentials = credentials.as_label()
                );
                self.streams += 1;
                let (failures, stalled) = (self.selector.failures(), self.stalled);
                let synced = &Notify::new();
                let identity = &identity;
                let params = StreamParams { identity, credentials, token_instead, failures, stalled, synced };
                self.stream(&params).instrument(span).await
            }
            Err(error) => StreamEnd::Failed(error),
        };
        match end {
            StreamEnd::AfterSync(error) => {
                self.backoff.reset();
                self.selector.succeed();
                self.stalled = 0;
                metrics::stream_ended(error.as_ref());
                let reason = error.as_ref().map(Error::report);
                tracing::info!(reason, "the stream to istiod ended: reconnecting");
                self.lost = Some((Instant::now(), self.state.runtime.now()));
                RECONNECT_JITTER.mul_f64(fastrand::f64())
            }
            // Only the token can succeed now.
            StreamEnd::Failed(error)
                if is_certificate_rejected(&error) && self.selector.reject(identity.epoch()) =>
            {
                tracing::warn!(error = error.report(), "istiod rejected the certificate: trying the token");
                self.state.identity.reject();
                Duration::ZERO
            }
            StreamEnd::Failed(error) => self.failed(error),
            StreamEnd::Stalled(error) => {
                self.stalled = self.stalled.saturating_add(1);
                self.failed(error)
            }
        }
    }

    fn failed(&mut self, error: Error) -> Duration {
        metrics::connection_failed();
        self.selector.fail();
        let wait = self.backoff.next(fastrand::f64());
        tracing::warn!(error = error.report(), ?wait, "the stream to istiod failed: retrying");
        let since = self.lost.take().map(|(_, since)| since);
        self.state.health.stream_failed(since, Some(error));
        wait
    }

    /// Returns the credentials of the next stream, and whether they are the token although a certificate can be used.
    async fn credentials(&self, identity: &Arc<Identity>) -> Result<(Credentials, bool), Error> {
        let now = self.state.runtime.now();
        let token_file = self.state.runtime.config.token_file();
        let valid = Some(identity.epoch()).filter(|_| !identity.remaining(now).is_zero());
        let choice = self.selector.next(valid, token_file.is_some());
        if choice == Choice::Certificate {
            return Ok((Credentials::Certificate(identity.clone()), false));
        }
        let file = token_file.ok_or_else(|| {
            let id = identity.spiffe_id();
            let message = match now.duration_since(identity.not_after()) {
                Ok(ago) => {
                    format!("the certificate of {id} expired {} ago, and no token is configured: set a token file", HumanDuration(ago))
                }
                Err(_) => format!("istiod rejected the certificate of {id}, and no token is configured: set a token file"),
            };
            Error::new(ErrorKind::Unauthenticated, message)
        })?;
        let token = Credentials::Token(Arc::new(Token::read(file).await?));
        Ok((token, choice == Choice::TokenInstead))
    }

    /// Opens one stream and follows it to its end. If no name table arrives within [`GRACE`], the health reports the
    /// end of the previous stream.
    async fn stream(&mut self, params: &StreamParams<'_>) -> StreamEnd {
        let Self { state, session, lost, .. } = self;
        let mut ended = pin!(async {
            match Stream::open(state, session, params).await {
                Ok(stream) => stream.exchange().await,
                Err(error) => StreamEnd::Failed(error),
            }
        });
        if let Some((at, since)) = *lost {
            tokio::select! {
                ended = &mut ended => return ended,
                () = params.synced.notified() => {}
                () = sleep_until(at + GRACE) => state.health.stream_failed(Some(since), None),
            }
            *lost = None;
        }
        ended.await
    }
}

async fn identity(state: &State) -> Arc<Identity> {
    let mut watch = state.identity.subscribe();
    match watch.wait_for(Option::is_some).await.as_deref() {
        Some(Some(identity)) => identity.clone(),
        _ => std::future::pending().await,
    }
}
