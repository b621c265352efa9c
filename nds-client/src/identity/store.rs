//! The current identity and the roots that verify peers.

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
    watched::{Watch, WatchSender},
};

/// Publishes the identity. A new certificate and a change of the roots both publish a new value with a higher epoch.
#[derive(Debug)]
pub(crate) struct IdentityStore {
    published: WatchSender<Option<Arc<Identity>>>,
    latest: Mutex<Latest>,
    /// Notified when istiod's xDS server rejects the current certificate.
    rejected: Notify,
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
            published: WatchSender::with_first(None),
            latest: Mutex::new(Latest { roots, epoch: 0 }),
            rejected: Notify::new(),
        }
    }

    pub(crate) fn subscribe(&self) -> Watch<Option<Arc<Identity>>> {
        self.published.subscribe()
    }

    pub(crate) fn current(&self) -> Option<Arc<Identity>> {
        self.published.current()
    }

    /// Returns all roots by source.
    pub(crate) fn roots(&self) -> RootSet {
        self.latest.lock().roots.clone()
    }

    /// Publishes a certificate together with the roots issued with it.
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

    /// Applies `change` to the roots. Returns whether the union of all sources has changed.
    pub(crate) fn change_roots(&self, change: impl FnOnce(&mut RootSet)) -> Result<bool, Error> {
        let mut latest = self.latest.lock();
        let mut roots = latest.roots.clone();
        change(&mut roots);
        let union = roots.union();
        // Unusable roots must not be stored: they would make every later certificate unusable.
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

    /// Reads the configured roots file again, if there is one, so that the file can be replaced while the process runs.
    /// Keeps the last valid roots if the file is invalid.
    pub(crate) fn reload_roots(&self, file: Option<&Path>) {
        let Some(file) = file else { return };
        let read = fs::read(file)
            .map_err(|error| Error::with_source(ErrorKind::Credentials, "the file cannot be read", error))
            .and_then(|pem| certificates(&pem, "the file"))
            .and_then(|configured| self.change_roots(|roots| roots.configured = configured));
        let file = file.display();
        match read {
            Ok(false) => {}
            Ok(true) => tracing::info!(%file, "the roots in the file have changed: using the new ones"),
            Err(error) => {
                tracing::warn!(%file, error = error.report(), "the roots in the file cannot be used: the previous ones stay in use");
            }
        }
    }

    /// Reports that istiod's xDS server rejected the current certificate. The task that waits in
    /// [`rejected`](Self::rejected) then requests a new one.
    pub(crate) fn reject(&self) {
        self.rejected.notify_one();
    }

    /// Waits until [`reject`](Self::reject) is called.
    pub(crate) async fn rejected(&self) {
        self.rejected.notified().await;
    }
}
