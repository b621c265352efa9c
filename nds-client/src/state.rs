//! What the tasks publish and the handles read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    Clusters, Config, Endpoints, Error, Health, NameTable, Publisher,
    ads::{
        Used, WantedNow,
        session::{Change, Wanted},
    },
    identity::IdentityCell,
    observe,
};

/// The endpoints of the clusters in use, by EDS name.
pub(crate) type EndpointMap = HashMap<Arc<str>, Subscription, RandomState>;

/// The endpoints of one cluster in use.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) used: Used,
}

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
    pub(crate) names: Publisher<NameTable>,
    /// How many good name tables have come.
    pub(crate) name_pushes: watch::Sender<u64>,
    pub(crate) clusters: Publisher<Option<Arc<Clusters>>>,
    pub(crate) endpoints: Publisher<EndpointMap>,
    pub(crate) identity: IdentityCell,
    pub(crate) health: Publisher<Health>,
    /// The same value as `health` publishes, for the tasks to change.
    health_now: Mutex<Health>,
    /// The type of the last push that was rejected.
    rejected: Mutex<Option<&'static str>>,
    /// Why a part of the state folder could not be used, by [`Kept`].
    not_kept: Mutex<[Option<Error>; 3]>,
    wanted: Mutex<WantedNow>,
    begin: Instant,
    pub(crate) wanted_changed: Notify,
    /// istiod's xDS server has refused the certificate in use.
    pub(crate) certificate_refused: Notify,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            names: Publisher::new(NameTable::default()),
            name_pushes: watch::channel(0).0,
            clusters: Publisher::new(None),
            endpoints: Publisher::new(EndpointMap::default()),
            identity: IdentityCell::new(config.roots.clone()),
            health: Publisher::new(Health::default()),
            health_now: Mutex::default(),
            rejected: Mutex::default(),
            not_kept: Mutex::default(),
            wanted: Mutex::default(),
            begin: Instant::now(),
            wanted_changed: Notify::new(),
            certificate_refused: Notify::new(),
            config,
        }
    }

    fn lock_wanted(&self) -> MutexGuard<'_, WantedNow> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the client began.
    pub(crate) fn seconds(&self) -> u64 {
        self.begin.elapsed().as_secs()
    }

    /// What a new stream has to subscribe to.
    pub(crate) fn all_wanted(&self) -> Wanted {
        self.lock_wanted().all()
    }

    /// What the open stream has to change.
    pub(crate) fn wanted_change(&self) -> Change {
        self.lock_wanted().change()
    }

    pub(crate) fn want_clusters(&self) {
        if self.lock_wanted().want_clusters() {
            self.wanted_changed.notify_one();
        }
    }

    pub(crate) fn want_endpoints(&self, name: &str) {
        if self.lock_wanted().want_endpoints(name, self.seconds()) {
            self.wanted_changed.notify_one();
        }
    }

    pub(crate) fn used(&self, name: &str) -> Option<Used> {
        self.lock_wanted().used(name)
    }

    pub(crate) fn drop_idle_endpoints(&self) -> Vec<Arc<str>> {
        self.lock_wanted().drop_idle(self.seconds(), self.config.idle_endpoints.as_secs())
    }

    /// What became of a push: a good one makes up for a rejected one of its type.
    pub(crate) fn note_push(&self, type_url: Option<&'static str>, error: Option<Error>) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut all = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        all[kept as usize] = error;
        let first = all.iter().flatten().next().cloned();
        self.set_health(|health| health.storage = first);
    }

    /// Puts endpoints of an earlier run into use, and asks for them further.
    pub(crate) fn restore_endpoints(&self, restored: Vec<(Arc<str>, Endpoints)>) {
        let mut all = EndpointMap::default();
        for (name, endpoints) in restored {
            self.want_endpoints(&name);
            let Some(used) = self.used(&name) else { continue };
            all.insert(name, Subscription { endpoints: Arc::new(endpoints), used });
        }
        self.endpoints.publish(Arc::new(all));
    }

    pub(crate) fn set_health(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health_now.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut health);
        health.note_times(self.config.clock.now());
        observe::health(&health);
        self.health.publish(Arc::new(health.clone()));
    }
}
