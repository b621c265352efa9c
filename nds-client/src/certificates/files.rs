//! Follows certificate files that another program renews.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    config::CertificateFiles,
    duration::HumanDuration,
    error::{Error, ErrorKind},
    health::HealthReporter,
    identity::{FileContents, Identity, IdentityStore, with_file_names},
    metrics,
    runtime::Runtime,
};

/// The interval at which the certificate files are read.
const INTERVAL: Duration = Duration::from_secs(5);

/// Publishes the identity in the certificate files, and each renewal of it, until the future is dropped.
pub(super) async fn follow(
    runtime: &Runtime,
    identity: &IdentityStore,
    health: &HealthReporter,
    files: &CertificateFiles,
) {
    let mut follower = Follower { runtime, identity, health, used: None, failures: 0, warned: None };
    loop {
        match FileContents::read(files).and_then(|contents| follower.take(&contents)) {
            Ok(()) => follower.succeeded(),
            Err(error) => follower.failed(with_file_names(files, error)),
        }
        sleep(INTERVAL).await;
    }
}

struct Follower<'a> {
    runtime: &'a Runtime,
    identity: &'a IdentityStore,
    health: &'a HealthReporter,
    /// The hash of the file contents from which the current identity was read; `None` before the first valid contents.
    used: Option<u64>,
    /// The number of consecutive times that the files could not be used.
    failures: u32,
    /// The epoch of the last identity about whose expiry a warning was logged.
    warned: Option<u64>,
}

impl Follower<'_> {
    /// Publishes the identity in `contents` if the contents have changed. An invalid or expired certificate is an
    /// error.
    fn take(&mut self, contents: &FileContents) -> Result<(), Error> {
        let fingerprint = contents.fingerprint();
        if self.used == Some(fingerprint) {
            return Ok(());
        }
        let identity = contents.identity(self.runtime.provider.clone())?;
        if let Some(error) = self.expired(&identity) {
            return Err(error);
        }
        let identity = self.identity.replace(identity, contents.roots()?)?;
        tracing::info!(
            spiffe_id = %identity.spiffe_id(), epoch = identity.epoch(), "read the certificate from its files"
        );
        self.health.certificate_read(identity.not_after());
        self.used = Some(fingerprint);
        Ok(())
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        let current = self.identity.current();
        self.health.identity(current.as_deref().and_then(|identity| self.expired(identity)));
        if let Some(identity) = current {
            self.warn_before_expiry(&identity);
        }
    }

    fn failed(&mut self, error: Error) {
        self.failures = self.failures.saturating_add(1);
        // The files may be read in the middle of a replacement: the first failure is reported only if no certificate is
        // in use.
        if self.failures > 1 || self.used.is_none() {
            if self.failures <= 2 {
                tracing::warn!(
                    error = error.report(),
                    "the certificate files cannot be used: the previous certificate stays in use"
                );
            }
            self.health.identity(Some(error));
        }
    }

    /// Logs a warning, once per certificate, if a tenth of its lifetime or less remains and the files were not renewed.
    fn warn_before_expiry(&mut self, identity: &Identity) {
        let now = self.runtime.now();
        metrics::certificate_ends(identity.not_after(), now);
        let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
        let remaining = identity.remaining(now);
        if remaining <= lifetime / 10 && self.warned != Some(identity.epoch()) {
            self.warned = Some(identity.epoch());
            tracing::warn!(
                spiffe_id = %identity.spiffe_id(), ?remaining, "the certificate in the files expires soon: renew the files"
            );
        }
    }

    fn expired(&self, identity: &Identity) -> Option<Error> {
        let ago = self.runtime.now().duration_since(identity.not_after()).ok()?;
        let message = format!(
            "the certificate of {} expired {} ago and the files were not renewed",
            identity.spiffe_id(),
            HumanDuration(ago)
        );
        Some(Error::new(ErrorKind::Unauthenticated, message))
    }
}
