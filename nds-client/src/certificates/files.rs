//! Follows the files of a certificate that another program renews.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    config::CertificateFiles,
    duration::Rough,
    error::{Error, ErrorKind},
    health::HealthBoard,
    identity::{FileContents, Identity, IdentityStore, named},
    metrics,
    runtime::Runtime,
};

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(5);

/// Puts what is in the files into use, each time it changes. Runs until it is dropped.
pub(super) async fn follow(
    runtime: &Runtime,
    identity: &IdentityStore,
    health: &HealthBoard,
    files: &CertificateFiles,
) {
    let mut follower = Follower { runtime, identity, health, used: None, failures: 0, warned: None };
    loop {
        match FileContents::read(files).and_then(|contents| follower.take(&contents)) {
            Ok(()) => follower.succeeded(),
            Err(error) => follower.failed(named(files, error)),
        }
        sleep(INTERVAL).await;
    }
}

struct Follower<'a> {
    runtime: &'a Runtime,
    identity: &'a IdentityStore,
    health: &'a HealthBoard,
    /// The fingerprint of the contents in use.
    used: Option<u64>,
    /// How often the files could not be used, in a row.
    failures: u32,
    /// The epoch of the identity whose end was warned of.
    warned: Option<u64>,
}

impl Follower<'_> {
    /// Puts the contents into use, where they are new, whole and good.
    fn take(&mut self, contents: &FileContents) -> Result<(), Error> {
        let fingerprint = contents.fingerprint();
        if self.used == Some(fingerprint) {
            return Ok(());
        }
        let identity = contents.identity(self.runtime.provider.clone())?;
        if let Some(error) = self.ended(&identity) {
            return Err(error);
        }
        let identity = self.identity.replace(identity, contents.roots()?)?;
        tracing::info!(
            spiffe_id = %identity.spiffe_id(), epoch = identity.epoch(), "certificate read from files"
        );
        self.health.certificate_read(identity.not_after());
        self.used = Some(fingerprint);
        Ok(())
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        let current = self.identity.current();
        self.health.identity(current.as_deref().and_then(|identity| self.ended(identity)));
        if let Some(identity) = current {
            self.warn_before_end(&identity);
        }
    }

    fn failed(&mut self, error: Error) {
        self.failures = self.failures.saturating_add(1);
        // The files may be in the middle of being replaced: only the second time it is a failure, unless there is
        // nothing to go on with.
        if self.failures > 1 || self.used.is_none() {
            if self.failures <= 2 {
                tracing::warn!(error = error.report(), "the certificate files cannot be used");
            }
            self.health.identity(Some(error));
        }
    }

    /// Warns once for each certificate that its end is near: the program that renews the files has not done so.
    fn warn_before_end(&mut self, identity: &Identity) {
        let now = self.runtime.now();
        metrics::certificate_ends(identity.not_after(), now);
        let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
        let remaining = identity.remaining(now);
        if remaining <= lifetime / 10 && self.warned != Some(identity.epoch()) {
            self.warned = Some(identity.epoch());
            tracing::warn!(
                spiffe_id = %identity.spiffe_id(), ?remaining, "the certificate in the files ends soon"
            );
        }
    }

    fn ended(&self, identity: &Identity) -> Option<Error> {
        let ago = self.runtime.now().duration_since(identity.not_after()).ok()?;
        let message = format!(
            "the certificate of {} ended {} ago and was not renewed",
            identity.spiffe_id(),
            Rough(ago)
        );
        Some(Error::new(ErrorKind::Unauthenticated, message))
    }
}
