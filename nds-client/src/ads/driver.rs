//! Keeps a stream open.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument as _;

use super::{
    node::node,
    session::Session,
    stream::{Ended, Opening, Stream},
};
use crate::{
    Error, ErrorKind, Identity, SyncState,
    backoff::Backoff,
    duration::Rough,
    identity::{Token, keeper::reload_roots},
    istiod::{Credentials, is_certificate_refused},
    observe,
    state::State,
};

/// After a good stream the next is opened without delay, but not at once with all others.
const RECONNECT_JITTER: Duration = Duration::from_millis(100);
/// A stream that is back within this time was never away, as far as anybody can tell: istiod ends streams every half hour.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let mut driver = Driver {
        session: Session::new(node(&state.config)),
        state: &state,
        backoff: Backoff::default(),
        failures: 0,
        wedges: 0,
        refused: None,
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
    failures: u32,
    wedges: u32,
    /// The epoch of the identity that istiod's TLS has refused.
    refused: Option<u64>,
    /// Counts the streams, for those who read.
    streams: u64,
    /// When the last good stream ended, while nobody has been told.
    lost: Option<(Instant, SystemTime)>,
}

impl Driver<'_> {
    /// Opens a stream and stays until its end; then says how long to wait before the next.
    async fn one_stream(&mut self) -> Duration {
        let identity = identity(self.state).await;
        reload_roots(self.state);
        let outcome = match self.credentials(&identity).await {
            Ok(credentials) => {
                let usable = !identity.remaining(self.state.config.clock.now()).is_zero()
                    && self.refused != Some(identity.epoch());
                let turn_of_token = usable && matches!(credentials, Credentials::Token(_));
                let Self { state, session, failures, wedges, lost, streams, .. } = self;
                let (failures, wedges) = (*failures, *wedges);
                let opening = Opening { identity: &identity, credentials, turn_of_token, failures, wedges };
                let credentials = opening.credentials.as_label();
                let span = tracing::info_span!("stream", number = *streams, credentials);
                *streams += 1;
                stream(state, session, &opening, lost).instrument(span).await
            }
            Err(error) => Ended::Failed(error),
        };
        match outcome {
            Ended::AfterSync(error) => {
                self.backoff.reset();
                (self.failures, self.wedges) = (0, 0);
                observe::stream_ended(error.as_ref());
                let reason = error.as_ref().map(Error::report);
                tracing::info!(reason, "the stream to istiod ended; reconnecting");
                self.lost = Some((Instant::now(), self.state.config.clock.now()));
                RECONNECT_JITTER.mul_f64(fastrand::f64())
            }
            // Only the token can help now.
            Ended::Failed(error)
                if is_certificate_refused(&error) && self.refused != Some(identity.epoch()) =>
            {
                tracing::warn!(error = error.report(), "trying the token");
                self.refused = Some(identity.epoch());
                self.state.certificate_refused.notify_one();
                Duration::ZERO
            }
            Ended::Failed(error) => self.failed(error),
            Ended::Silent(error) => {
                self.wedges = self.wedges.saturating_add(1);
                self.failed(error)
            }
        }
    }

    fn failed(&mut self, error: Error) -> Duration {
        observe::connection_failed();
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.next(fastrand::f64());
        tracing::warn!(error = error.report(), ?wait, "no stream to istiod");
        let since = self.lost.take().map(|(_, since)| since);
        self.state.stream_failed(since, Some(error));
        wait
    }

    /// The certificate where it can be used, else the token: istiod fails the handshake of a bad certificate instead of
    /// asking for the token. That may look like a lost connection (its alert and the reset that follows race), so the
    /// token has a turn from time to time.
    async fn credentials(&self, identity: &Arc<Identity>) -> Result<Credentials, Error> {
        let now = self.state.config.clock.now();
        let token_file = self.state.config.token_file();
        let turn_of_token = self.failures % 4 == 3 && token_file.is_some();
        let refused = self.refused == Some(identity.epoch());
        if !refused && !turn_of_token && !identity.remaining(now).is_zero() {
            return Ok(Credentials::Certificate(identity.clone()));
        }
        let file = token_file.ok_or_else(|| {
            let id = identity.spiffe_id();
            let message = match now.duration_since(identity.not_after()) {
                Ok(ago) => format!("the certificate of {id} ended {} ago, and there is no token", Rough(ago)),
                Err(_) => format!("istiod refuses the certificate of {id}, and there is no token"),
            };
            Error::new(ErrorKind::Unauthenticated, message)
        })?;
        Ok(Credentials::Token(Arc::new(Token::read(file).await?)))
    }
}

/// One stream to its end. Until its names have come, the loss of the one before is told when the grace is over.
async fn stream(
    state: &State,
    session: &mut Session,
    opening: &Opening<'_>,
    lost: &mut Option<(Instant, SystemTime)>,
) -> Ended {
    let mut ended = pin!(async {
        match Stream::open(state, session, opening).await {
            Ok(stream) => stream.exchange().await,
            Err(error) => Ended::Failed(error),
        }
    });
    if let Some((at, since)) = *lost {
        let mut pushes = state.name_pushes.subscribe();
        tokio::select! {
            ended = &mut ended => return ended,
            _ = pushes.changed() => {}
            () = sleep_until(at + GRACE) => state.stream_failed(Some(since), None),
        }
        *lost = None;
    }
    ended.await
}

async fn identity(state: &State) -> Arc<Identity> {
    let mut watched = state.identity.subscribe();
    match watched.wait_for(Option::is_some).await.as_deref() {
        Some(Some(identity)) => identity.clone(),
        _ => std::future::pending().await,
    }
}

impl State {
    /// The stream has ended at `since`, or could not be opened.
    fn stream_failed(&self, since: Option<SystemTime>, error: Option<Error>) {
        let since = since.unwrap_or_else(|| self.config.clock.now());
        self.set_health(|health| {
            if health.sync == SyncState::Synced {
                health.sync = SyncState::Stale { since };
            }
            health.stream = error.or(health.stream.take());
        });
    }
}
