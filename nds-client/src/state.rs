//! What the tasks publish and the handles read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::{
    Clusters, Config, Endpoints, Error, Health, NameTable, Publisher, SyncState, ads::session::Wanted,
    identity::IdentityCell,
};

/// The endpoints of the clusters in use, by EDS name.
pub(crate) type EndpointMap = HashMap<String, Arc<Endpoints>, RandomState>;

/// Shared between the handles and the tasks; the tasks do not keep the handles alive.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) names: Publisher<NameTable>,
    pub(crate) clusters: Publisher<Option<Arc<Clusters>>>,
    pub(crate) endpoints: Publisher<EndpointMap>,
    pub(crate) identity: IdentityCell,
    pub(crate) health: Publisher<Health>,
    /// The same value as `health` publishes, for the tasks to change.
    health_now: Mutex<Health>,
    wanted: Mutex<Wanted>,
    pub(crate) wanted_changed: Notify,
    /// istiod's xDS server has refused the certificate in use.
    pub(crate) certificate_refused: Notify,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            names: Publisher::new(NameTable::default()),
            clusters: Publisher::new(None),
            endpoints: Publisher::new(EndpointMap::default()),
            identity: IdentityCell::new(config.roots.clone()),
            health: Publisher::new(Health::default()),
            health_now: Mutex::default(),
            wanted: Mutex::default(),
            wanted_changed: Notify::new(),
            certificate_refused: Notify::new(),
            config,
        }
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is wanted, and tells the stream where that makes a difference.
    pub(crate) fn want(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wanted.clone();
        change(&mut wanted);
        if *wanted != before {
            self.wanted_changed.notify_one();
        }
    }

    pub(crate) fn set_health(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health_now.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut health);
        health.note_times(self.config.clock.now());
        self.health.publish(Arc::new(health.clone()));
    }

    /// The stream has ended, or could not be opened.
    pub(crate) fn stream_failed(&self, error: Option<Error>) {
        let since = self.config.clock.now();
        self.set_health(|health| {
            if health.sync == SyncState::Synced {
                health.sync = SyncState::Stale { since };
            }
            health.stream = error.or(health.stream.take());
        });
    }
}
