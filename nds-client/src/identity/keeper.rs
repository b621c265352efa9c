//! Gets the first certificate and renews it, for as long as the client lives.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Token, files, renewal::due, roots::certificates};
use crate::{
    Error, ErrorKind, Identity,
    backoff::Backoff,
    duration::Rough,
    istiod::{
        Credentials,
        ca::{self, Issued},
        is_certificate_refused,
    },
    observe,
    state::State,
};

/// A certificate that istiod's xDS server refuses is replaced early, but not more often than this.
const RENEWAL_APART: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    if let Some(files) = &state.config.certificate_files {
        return files::watch(&state, files).await;
    }
    let (clock, renewal) = (&state.config.clock, state.config.renewal);
    if let Some(identity) = state.identity.get() {
        let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
        wait(&state, renewal.restored_delay(lifetime, identity.remaining(clock.now()))).await;
    }
    loop {
        let identity = obtain(&state).await;
        observe_end(&state);
        let delay = renewal.delay(identity.remaining(clock.now()), fastrand::f64());
        tracing::info!(
            spiffe_id = %identity.spiffe_id(), epoch = identity.epoch(), renewal_in = ?delay, "certificate issued"
        );
        tokio::time::sleep(RENEWAL_APART.min(delay)).await;
        wait(&state, delay.saturating_sub(RENEWAL_APART)).await;
    }
}

/// Until the certificate is due, or istiod has refused it.
async fn wait(state: &State, delay: Duration) {
    tokio::select! {
        () = due(&state.config.clock, delay, || observe_end(state)) => {}
        () = state.certificate_refused.notified() => {}
    }
}

fn observe_end(state: &State) {
    if let Some(identity) = state.identity.get() {
        observe::certificate_ends(identity.not_after(), state.config.clock.now());
    }
}

/// Tries until it succeeds.
async fn obtain(state: &State) -> Arc<Identity> {
    let mut backoff = Backoff::default();
    for failures in 0.. {
        reload_roots(state);
        observe_end(state);
        let begin = Instant::now();
        let outcome = issue(state, failures).await.and_then(|issued| accept(state, issued));
        observe::certificate_asked(outcome.as_ref().map(|_| ()), begin.elapsed());
        match outcome {
            Ok(identity) => return identity,
            Err(error) => {
                let error = so_what(state.identity.get().as_deref(), error, state.config.clock.now());
                let wait = backoff.next(fastrand::f64());
                tracing::warn!(error = error.report(), ?wait, "no certificate from istiod's CA");
                state.set_health(|health| health.identity = Some(error));
                tokio::time::sleep(wait).await;
            }
        }
    }
    std::future::pending().await
}

/// With the certificate at hand, else with the token. A refusal of the certificate may look like a lost connection
/// (its alert and the reset that follows race), so the token has a turn from time to time.
async fn issue(state: &State, failures: u32) -> Result<Issued, Error> {
    let config = &state.config;
    let roots = [state.identity.roots().union(), config.istiod_roots.clone()].concat();
    let turn_of_token = failures % 4 == 3 && config.token_file.is_some();
    if let Some(identity) = certificate(state).filter(|_| !turn_of_token) {
        match ca::issue(config, &Credentials::Certificate(identity), &roots, failures).await {
            Err(error) if is_certificate_refused(&error) || error.kind() == ErrorKind::Unauthenticated => {
                tracing::warn!(error = error.report(), "istiod refuses the certificate; trying the token");
            }
            result => return result,
        }
    }
    let file = config.token_file().ok_or_else(|| {
        Error::new(ErrorKind::Credentials, "there is no certificate that can be used, and no token")
    })?;
    ca::issue(config, &Credentials::Token(Arc::new(Token::read(file).await?)), &roots, failures).await
}

/// A certificate that istiod may accept: the one in use, or at the first time the one that another program has left.
fn certificate(state: &State) -> Option<Arc<Identity>> {
    let current = state.identity.get().or_else(|| {
        let identity = state.config.bootstrap.as_ref()?.identity(state.config.crypto_provider().ok()?);
        let not_used =
            |error: &Error| tracing::warn!(error = error.report(), "a provided certificate is not used");
        identity.inspect_err(not_used).ok().map(Arc::new)
    });
    current.filter(|identity| !identity.remaining(state.config.clock.now()).is_zero())
}

/// Puts a new certificate into use, unless this host's clock makes it useless.
fn accept(state: &State, issued: Issued) -> Result<Arc<Identity>, Error> {
    let Issued { identity, roots } = issued;
    let clock = clock_error(&identity, state.config.clock.now());
    if let Some(error) = clock.clone().filter(|_| identity.remaining(state.config.clock.now()).is_zero()) {
        return Err(error);
    }
    let expected = state.config.trust_domain.as_deref();
    if let Some(expected) = expected.filter(|domain| *domain != identity.spiffe_id().trust_domain()) {
        let trust_domain = identity.spiffe_id().trust_domain();
        tracing::warn!(trust_domain, expected, "the mesh has another trust domain than TRUST_DOMAIN says");
    }
    let identity = state.identity.replace(identity, roots)?;
    state.set_health(|health| {
        health.identity = None;
        health.clock = clock;
        health.certificate_ends = Some(identity.not_after());
    });
    Ok(identity)
}

/// What a certificate of this very moment says about the clock. istiod dates them two minutes back; other CAs do not.
fn clock_error(identity: &Identity, now: SystemTime) -> Option<Error> {
    const TOLERANCE: Duration = Duration::from_secs(7 * 60);
    let message = match (identity.not_before().duration_since(now), now.duration_since(identity.not_before()))
    {
        (Ok(ahead), _) if !ahead.is_zero() => {
            format!(
                "this host's clock is slow: a certificate that was just issued begins {} from now; set the clock",
                Rough(ahead)
            )
        }
        (_, Ok(age)) if age > TOLERANCE => {
            format!(
                "this host's clock is fast: a certificate that was just issued is dated {} back; set the clock",
                Rough(age)
            )
        }
        _ => return None,
    };
    Some(Error::new(ErrorKind::Clock, message))
}

/// A failed renewal, told by what it means for the certificate in use.
fn so_what(current: Option<&Identity>, error: Error, now: SystemTime) -> Error {
    let Some(identity) = current else { return error };
    let id = identity.spiffe_id();
    match now.duration_since(identity.not_after()) {
        Ok(ago) => {
            let message = format!("the certificate of {id} ended {} ago and cannot be renewed", Rough(ago));
            Error::with_source(ErrorKind::Unauthenticated, message, error)
        }
        Err(left) => {
            let left = Rough(left.duration());
            let message = format!("the certificate of {id} ends in {left} and could not be renewed yet");
            Error::with_source(error.kind(), message, error)
        }
    }
}

/// Reads the configured roots anew: whoever replaces the file needs no restart of ours. The last good ones stay.
pub(crate) fn reload_roots(state: &State) {
    let Some(file) = &state.config.roots_file else { return };
    let read = std::fs::read(file)
        .map_err(|error| Error::with_source(ErrorKind::Credentials, "it cannot be read", error))
        .and_then(|pem| certificates(&pem, "the file"))
        .and_then(|configured| state.identity.change_roots(|roots| roots.configured = configured));
    match read {
        Ok(false) => {}
        Ok(true) => tracing::info!(file = %file.display(), "the roots in the file have changed"),
        Err(error) => {
            tracing::warn!(file = %file.display(), error = error.report(), "the roots in the file cannot be used");
        }
    }
}
