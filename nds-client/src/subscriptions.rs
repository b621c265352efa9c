//! What this process subscribes to beside names: all clusters, and endpoints by EDS name; and the endpoints that came.

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
    watch::{Watch, WatchSender},
};

/// The subscriptions of a client. Callers add to them, the stream follows, and drops the endpoints that are not in use.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: Mutex<Table>,
    /// The same as in the table, for the calls after the first.
    clusters: AtomicBool,
    /// Wakes the stream, which has to tell istiod.
    changed: Notify,
    /// Counts the endpoints that were published or dropped, of all names.
    published: WatchSender<u64>,
    begin: Instant,
}

impl Subscriptions {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::default(),
            clusters: AtomicBool::new(false),
            changed: Notify::new(),
            published: WatchSender::new(0),
            begin: Instant::now(),
        }
    }

    /// When the client began.
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

    /// Waits until the open stream has something to change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Everything, for a new stream.
    pub(crate) fn all(&self) -> SubscriptionSet {
        self.table.lock().all()
    }

    /// What is new since the last call.
    pub(crate) fn change(&self) -> SubscriptionDelta {
        self.table.lock().change()
    }

    /// Publishes endpoints under their names, as far as they are subscribed to. How many names made a difference.
    pub(crate) fn publish(&self, endpoints: Vec<(Arc<str>, Endpoints)>) -> usize {
        let table = self.table.lock();
        let changed = endpoints.into_iter().filter_map(|(name, new)| table.publish(&name, new)).count();
        drop(table);
        self.count(changed);
        changed
    }

    /// Puts endpoints of an earlier run into use, and subscribes to them.
    pub(crate) fn restore(&self, endpoints: Vec<(Arc<str>, Endpoints)>) {
        for (name, _) in &endpoints {
            self.subscribe_endpoints(name);
        }
        self.publish(endpoints);
    }

    /// Drops the endpoints that were not used in the last `idle` seconds. How many these are.
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

    /// Counts the changes of the endpoints of any name.
    pub(crate) fn published(&self) -> Watch<u64> {
        self.published.subscribe()
    }

    /// How many names are subscribed to.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// The endpoints of all names, as far as they have come.
    pub(crate) fn endpoints(&self) -> Vec<(Arc<str>, Arc<Endpoints>)> {
        self.table.lock().endpoints()
    }
}
