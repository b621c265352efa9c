//! The identity in use, and the roots that peers are verified with.

use std::{fs, path::Path, sync::Arc};

use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use super::{
    Identity,
    roots::{RootSet, certificates, root_store},
};
use crate::{
    error::{Error, ErrorKind},
    watch::{Watch, WatchSender},
};

/// Publishes the identity. A new certificate and new roots have the same effect: a new value with a higher epoch.
#[derive(Debug)]
pub(crate) struct IdentityStore {
    published: WatchSender<Option<Arc<Identity>>>,
    latest: Mutex<Latest>,
    /// istiod's xDS server has refused the certificate in use.
    refused: Notify,
}

#[derive(Debug)]
struct Latest {
    roots: RootSet,
    epoch: u64,
}

impl IdentityStore {
    pub(crate) fn new(configured: Vec<CertificateDer<'static>>) -> Self {
        let roots = RootSet { configured, ..RootSet::default() };
        Self {
            published: WatchSender::new(None),
            latest: Mutex::new(Latest { roots, epoch: 0 }),
            refused: Notify::new(),
        }
    }

    pub(crate) fn subscribe(&self) -> Watch<Option<Arc<Identity>>> {
        self.published.subscribe()
    }

    pub(crate) fn current(&self) -> Option<Arc<Identity>> {
        self.published.current()
    }

    /// All roots, by their sources.
    pub(crate) fn roots(&self) -> RootSet {
        self.latest.lock().roots.clone()
    }

    /// Puts a certificate into use, together with the roots that came with it.
    pub(crate) fn replace(
        &self,
        identity: Identity,
        issued: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<Identity>, Error> {
        let mut latest = self.latest.lock();
        let roots = RootSet { issued, ..latest.roots.clone() };
        let identity = Arc::new(identity.with_roots(&roots.union())?.with_epoch(latest.epoch + 1));
        *latest = Latest { roots, epoch: latest.epoch + 1 };
        self.published.send(Some(identity.clone()));
        Ok(identity)
    }

    /// Changes the roots. Returns whether that makes a difference.
    pub(crate) fn change_roots(&self, change: impl FnOnce(&mut RootSet)) -> Result<bool, Error> {
        let mut latest = self.latest.lock();
        let mut roots = latest.roots.clone();
        change(&mut roots);
        let union = roots.union();
        // Unusable roots must not be stored: no certificate could be put into use any more.
        root_store(&union)?;
        let changed = union != latest.roots.union();
        latest.roots = roots;
        if let (true, Some(identity)) = (changed, self.current()) {
            latest.epoch += 1;
            let identity = (*identity).clone().with_roots(&union)?.with_epoch(latest.epoch);
            self.published.send(Some(Arc::new(identity)));
        }
        Ok(changed)
    }

    /// Reads the configured roots again, so that their file can be replaced while the process runs. The last good ones
    /// stay.
    pub(crate) fn reload_roots(&self, file: Option<&Path>) {
        let Some(file) = file else { return };
        let read = fs::read(file)
            .map_err(|error| Error::with_source(ErrorKind::Credentials, "it cannot be read", error))
            .and_then(|pem| certificates(&pem, "the file"))
            .and_then(|configured| self.change_roots(|roots| roots.configured = configured));
        let file = file.display();
        match read {
            Ok(false) => {}
            Ok(true) => tracing::info!(%file, "the roots in the file have changed"),
            Err(error) => {
                tracing::warn!(%file, error = error.report(), "the roots in the file cannot be used");
            }
        }
    }

    /// Asks for another certificate: istiod's xDS server refuses the one in use.
    pub(crate) fn refuse(&self) {
        self.refused.notify_one();
    }

    /// Waits until the certificate is refused.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }
}
