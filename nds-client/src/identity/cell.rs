//! Where the identity of the process is published.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustls_pki_types::CertificateDer;

use super::RootSet;
use crate::{Error, Identity, Watch, WatchSender};

/// The identity in use. A new certificate and a new root give the same: a new value with a higher epoch.
#[derive(Debug)]
pub(crate) struct IdentityCell {
    published: WatchSender<Option<Arc<Identity>>>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    roots: RootSet,
    epoch: u64,
}

impl IdentityCell {
    pub(crate) fn new(configured: Vec<CertificateDer<'static>>) -> Self {
        let roots = RootSet { configured, ..RootSet::default() };
        Self { published: WatchSender::new(None), now: Mutex::new(Now { roots, epoch: 0 }) }
    }

    pub(crate) fn subscribe(&self) -> Watch<Option<Arc<Identity>>> {
        self.published.subscribe()
    }

    pub(crate) fn get(&self) -> Option<Arc<Identity>> {
        self.published.current()
    }

    /// Every root that is known.
    pub(crate) fn roots(&self) -> RootSet {
        self.lock().roots.clone()
    }

    /// Puts a certificate into use, together with the roots that came with it.
    pub(crate) fn replace(
        &self,
        identity: Identity,
        issued: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<Identity>, Error> {
        let mut now = self.lock();
        let roots = RootSet { issued, ..now.roots.clone() };
        let identity = Arc::new(identity.with_roots(&roots.union())?.with_epoch(now.epoch + 1));
        *now = Now { roots, epoch: now.epoch + 1 };
        self.published.send(Some(identity.clone()));
        Ok(identity)
    }

    /// Changes the roots. Whether that makes a difference is the result.
    pub(crate) fn change_roots(&self, change: impl FnOnce(&mut RootSet)) -> Result<bool, Error> {
        let mut now = self.lock();
        let mut roots = now.roots.clone();
        change(&mut roots);
        let union = roots.union();
        // Bad ones must not get so far that no certificate can be put into use any more.
        super::root_store(&union)?;
        let changed = union != now.roots.union();
        now.roots = roots;
        if let (true, Some(identity)) = (changed, self.get()) {
            now.epoch += 1;
            let identity = (*identity).clone().with_roots(&union)?.with_epoch(now.epoch);
            self.published.send(Some(Arc::new(identity)));
        }
        Ok(changed)
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock()
    }
}
