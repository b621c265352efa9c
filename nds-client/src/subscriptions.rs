//! The subscriptions of this process to clusters and endpoints, and the received endpoints. (The name table needs no
//! subscription by a caller.)

mod endpoints_watch;
mod table;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

pub use self::endpoints_watch::EndpointsWatch;
use self::table::{Subscribed, Table};
pub(crate) use self::table::{SubscriptionDelta, SubscriptionSet};
use crate::{
    resources::endpoint::Endpoints,
    watched::{Watch, WatchSender},
};

/// The subscriptions of a client. Callers add subscriptions; the stream sends them to istiod, and ends those of
/// endpoints that are no longer used.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: Mutex<Table>,
    /// Whether clusters are subscribed to. This copy of the flag in `table` is read without the lock.
    clusters: AtomicBool,
    /// Wakes the stream, which sends the change to istiod.
    changed: Notify,
    /// A counter that increases when the endpoints of any EDS name change.
    published: WatchSender<u64>,
    begin: Instant,
}

impl Subscriptions {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::default(),
            clusters: AtomicBool::new(false),
            changed: Notify::new(),
            published: WatchSender::with_first(0),
            begin: Instant::now(),
        }
    }

    /// Returns the time at which the client started.
    pub(crate) fn begin(&self) -> Instant {
        self.begin
    }

    fn seconds(&self) -> u64 {
        self.begin.elapsed().as_secs()
    }

    pub(crate) fn subscribe_clusters(&self) {
        if !self.clusters.load(Relaxed) && self.table.lock().subscribe_clusters() {
            self.clusters.store(true, Relaxed);
            self.changed.notify_one();
        }
    }

    fn subscribe_endpoints(&self, name: &str) -> Subscribed {
        let (is_new, subscribed) = self.table.lock().subscribe(name, self.seconds());
        if is_new {
            self.changed.notify_one();
        }
        subscribed
    }

    /// Waits until the subscriptions change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns all subscriptions, for a new stream.
    pub(crate) fn all(&self) -> SubscriptionSet {
        self.table.lock().all()
    }

    /// Returns the changes of the subscriptions since the last call of this method or of [`all`](Self::all).
    pub(crate) fn change(&self) -> SubscriptionDelta {
        self.table.lock().change()
    }

    /// Publishes the endpoints of subscribed EDS names and ignores those of other names. Returns the number of names
    /// whose endpoints changed.
    pub(crate) fn publish(&self, endpoints: Vec<(Arc<str>, Endpoints)>) -> usize {
        let table = self.table.lock();
        let changed = endpoints.into_iter().filter_map(|(name, new)| table.publish(&name, new)).count();
        drop(table);
        self.count(changed);
        changed
    }

    /// Publishes endpoints from the state directory and subscribes to them.
    pub(crate) fn restore(&self, endpoints: Vec<(Arc<str>, Endpoints)>) {
        for (name, _) in &endpoints {
            self.subscribe_endpoints(name);
        }
        self.publish(endpoints);
    }

    /// Drops the endpoints that were not used in the last `idle` seconds, and ends their subscriptions. Returns the
    /// number of ended subscriptions.
    pub(crate) fn drop_idle(&self, idle: u64) -> usize {
        let dropped = self.table.lock().drop_idle(self.seconds(), idle);
        self.count(dropped);
        dropped
    }

    fn count(&self, changed: usize) {
        if changed > 0 {
            self.published.modify(|published| {
                *published += 1;
                true
            });
        }
    }

    /// Returns a watch of a counter that increases when the endpoints of any EDS name change.
    pub(crate) fn published(&self) -> Watch<u64> {
        self.published.subscribe()
    }

    /// Returns the number of EDS subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Returns the received endpoints of all subscribed names.
    pub(crate) fn endpoints(&self) -> Vec<(Arc<str>, Arc<Endpoints>)> {
        self.table.lock().endpoints()
    }
}
