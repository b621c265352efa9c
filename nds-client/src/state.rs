//! What the tasks publish and the handles read.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    Clusters, Config, Endpoints, Error, Health, NameTable, WatchSender, ads::subscriptions::Subscriptions,
    identity::IdentityCell, observe,
};

/// What is in the state folder, each part of which can fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    Folder,
    Identity,
    Snapshot,
}

/// Shared between the handles and the tasks; the tasks do not keep the handles alive.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) names: WatchSender<NameTable>,
    /// How many good name tables have come.
    pub(crate) name_pushes: watch::Sender<u64>,
    pub(crate) clusters: WatchSender<Option<Arc<Clusters>>>,
    pub(crate) identity: IdentityCell,
    pub(crate) health: WatchSender<Health>,
    /// The type of the last push that was rejected.
    rejected: Mutex<Option<&'static str>>,
    /// Why a part of the state folder could not be used, by [`Kept`].
    not_kept: Mutex<[Option<Error>; 3]>,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// istiod's xDS server has refused the certificate in use.
    pub(crate) certificate_refused: Notify,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            names: WatchSender::new(NameTable::default()),
            name_pushes: watch::channel(0).0,
            clusters: WatchSender::new(None),
            identity: IdentityCell::new(config.roots.clone()),
            health: WatchSender::new(Health::default()),
            rejected: Mutex::default(),
            not_kept: Mutex::default(),
            subscriptions: Arc::new(Subscriptions::new()),
            certificate_refused: Notify::new(),
            config,
        }
    }

    /// What became of a push: a good one makes up for a rejected one of its type.
    pub(crate) fn note_push(&self, type_url: Option<&'static str>, error: Option<Error>) {
        let mut rejected = self.rejected.lock();
        if error.is_some() {
            *rejected = type_url;
            self.set_health(|health| health.rejected = error);
        } else if type_url.is_some() && *rejected == type_url {
            *rejected = None;
            self.set_health(|health| health.rejected = None);
        }
    }

    /// What became of a part of the state folder.
    pub(crate) fn note_kept(&self, kept: Kept, error: Option<Error>) {
        let mut all = self.not_kept.lock();
        all[kept as usize] = error;
        let first = all.iter().flatten().next().cloned();
        self.set_health(|health| health.storage = first);
    }

    /// Puts endpoints of an earlier run into use, and subscribes to them.
    pub(crate) fn restore_endpoints(&self, restored: Vec<(Arc<str>, Endpoints)>) {
        for (name, _) in &restored {
            self.subscriptions.subscribe_endpoints(name);
        }
        self.subscriptions.publish(restored);
    }

    pub(crate) fn set_health(&self, change: impl FnOnce(&mut Health)) {
        self.health.modify(|health| {
            change(health);
            health.note_times(self.config.clock.now());
            observe::health(health);
            true
        });
    }
}
