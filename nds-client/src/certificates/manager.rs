//! Requests certificates from istiod's CA and renews them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use super::{clock::clock_error, schedule::due};
use crate::{
    backoff::Backoff,
    duration::HumanDuration,
    error::{Error, ErrorKind},
    health::HealthReporter,
    identity::{
        FileContents, Identity, IdentityStore, Token,
        credentials::{Choice, CredentialSelector, Credentials},
        with_file_names,
    },
    istiod::{
        ca::{self, Issued},
        is_certificate_rejected,
    },
    metrics,
    runtime::Runtime,
};

/// The shortest time between the issuance of a certificate and the next request, if istiod's xDS server rejects the
/// certificate.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(60);

/// Requests certificates from istiod's CA, renews them and publishes them.
pub(super) struct Manager<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) identity: &'a IdentityStore,
    pub(super) health: &'a HealthReporter,
}

impl Manager<'_> {
    /// Requests and renews certificates until the future is dropped.
    pub(super) async fn run(&self) {
        let renewal = self.runtime.config.renewal;
        if let Some(identity) = self.identity.current() {
            let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
            self.wait(renewal.restored_delay(lifetime, identity.remaining(self.runtime.now()))).await;
        }
        loop {
            let identity = self.obtain().await;
            self.record_end();
            let delay = renewal.delay(identity.remaining(self.runtime.now()), fastrand::f64());
            tracing::info!(
                spiffe_id = %identity.spiffe_id(), epoch = identity.epoch(), renewal_in = ?delay, "certificate issued"
            );
            sleep(MIN_RENEWAL_INTERVAL.min(delay)).await;
            self.wait(delay.saturating_sub(MIN_RENEWAL_INTERVAL)).await;
        }
    }

    /// Waits until `delay` has passed or istiod's xDS server has rejected the certificate.
    async fn wait(&self, delay: Duration) {
        tokio::select! {
            () = due(&self.runtime.clock, delay, || self.record_end()) => {}
            () = self.identity.rejected() => {}
        }
    }

    fn record_end(&self) {
        if let Some(identity) = self.identity.current() {
            metrics::certificate_ends(identity.not_after(), self.runtime.now());
        }
    }

    /// Requests a certificate until a request succeeds.
    async fn obtain(&self) -> Arc<Identity> {
        let mut backoff = Backoff::default();
        let mut failures = 0u32;
        loop {
            self.identity.reload_roots(self.runtime.config.roots_file.as_deref());
            self.record_end();
            let begin = Instant::now();
            let outcome = self.issue(failures).await.and_then(|issued| self.accept(issued));
            metrics::certificate_requested(outcome.as_ref().map(|_| ()), begin.elapsed());
            match outcome {
                Ok(identity) => return identity,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let error = consequence(self.identity.current().as_deref(), error, self.runtime.now());
                    let wait = backoff.next(fastrand::f64());
                    tracing::warn!(
                        error = error.report(),
                        ?wait,
                        "the certificate request to istiod's CA failed: retrying"
                    );
                    self.health.identity(Some(error));
                    sleep(wait).await;
                }
            }
        }
    }

    /// Requests a certificate once: authenticated by the current certificate and, if istiod rejects that certificate,
    /// immediately again by the token. `failures` is the number of consecutive failed requests.
    async fn issue(&self, failures: u32) -> Result<Issued, Error> {
        let config = &self.runtime.config;
        let roots = [self.identity.roots().union(), config.istiod_roots.clone()].concat();
        let mut selector = CredentialSelector::after(failures);
        let certificate = self.certificate();
        let epoch = certificate.as_ref().map(|identity| identity.epoch());
        while let (Choice::Certificate, Some(identity)) =
            (selector.next(epoch, config.token_file.is_some()), &certificate)
        {
            let credentials = Credentials::Certificate(identity.clone());
            match ca::issue(self.runtime, &credentials, &roots, failures).await {
                Err(error)
                    if is_certificate_rejected(&error) || error.kind() == ErrorKind::Unauthenticated =>
                {
                    tracing::warn!(
                        error = error.report(),
                        "istiod rejected the certificate: retrying with the token"
                    );
                    selector.reject(identity.epoch());
                }
                result => return result,
            }
        }
        let file = config.token_file().ok_or_else(|| {
            Error::new(ErrorKind::Credentials, "no valid certificate and no token file: set a token file")
        })?;
        let token = Credentials::Token(Arc::new(Token::read(file).await?));
        ca::issue(self.runtime, &token, &roots, failures).await
    }

    /// Returns the certificate that authenticates a request: the current one or, before the first issuance, one that
    /// another program provided. Returns `None` if there is none or it has expired.
    fn certificate(&self) -> Option<Arc<Identity>> {
        let current = self.identity.current().or_else(|| self.bootstrap());
        current.filter(|identity| !identity.remaining(self.runtime.now()).is_zero())
    }

    fn bootstrap(&self) -> Option<Arc<Identity>> {
        let files = self.runtime.config.bootstrap.as_ref()?;
        let read = FileContents::read(files).and_then(|contents| {
            contents.identity(self.runtime.provider.clone()).map_err(|error| with_file_names(files, error))
        });
        let not_used = |error: &Error| {
            tracing::warn!(
                error = error.report(),
                "the provided certificate cannot be used: continuing with the token"
            )
        };
        read.inspect_err(not_used).ok().map(Arc::new)
    }

    /// Publishes a new certificate. A certificate that has already expired by the clock of this host is an error.
    fn accept(&self, issued: Issued) -> Result<Arc<Identity>, Error> {
        let Issued { identity, roots } = issued;
        let now = self.runtime.now();
        let clock = clock_error(identity.not_before(), now);
        if let Some(error) = clock.clone().filter(|_| identity.remaining(now).is_zero()) {
            return Err(error);
        }
        let expected = self.runtime.config.trust_domain.as_deref();
        if let Some(expected) = expected.filter(|domain| *domain != identity.spiffe_id().trust_domain()) {
            let trust_domain = identity.spiffe_id().trust_domain();
            tracing::warn!(
                trust_domain,
                expected,
                "the trust domain of the certificate differs from TRUST_DOMAIN"
            );
        }
        let identity = self.identity.replace(identity, roots)?;
        self.health.certificate_issued(identity.not_after(), clock);
        Ok(identity)
    }
}

/// Wraps the error of a failed request in a message that says when the current certificate expires or has expired.
/// Without a current certificate, returns the error unchanged.
fn consequence(current: Option<&Identity>, error: Error, now: SystemTime) -> Error {
    let Some(identity) = current else { return error };
    let id = identity.spiffe_id();
    match now.duration_since(identity.not_after()) {
        Ok(ago) => {
            let message =
                format!("the certificate of {id} expired {} ago and cannot be renewed", HumanDuration(ago));
            Error::with_source(ErrorKind::Unauthenticated, message, error)
        }
        Err(left) => {
            let left = HumanDuration(left.duration());
            let message = format!("the certificate of {id} expires in {left} and could not be renewed yet");
            Error::with_source(error.kind(), message, error)
        }
    }
}
