//! The debounce between changes and pushes: istiod pushes after 100 ms without a change, and at the latest ten seconds
//! after the first change (istio `pilot/pkg/features/tuning.go`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Snapshot;
use super::changes::Changes;
use crate::address_book::AddressBook;
use crate::model::Mesh;

/// The time without changes after which istiod pushes.
const QUIET: Duration = Duration::from_millis(100);
/// The maximum time between the first change and its push.
const LONGEST: Duration = Duration::from_secs(10);

/// The part of istiod that receives changes and publishes snapshots.
#[derive(Debug)]
pub(crate) struct Pushes {
    next: Mutex<Snapshot>,
    changes: watch::Sender<u64>,
    published: watch::Sender<Arc<Snapshot>>,
    counter: Mutex<u64>,
}

impl Pushes {
    pub(crate) fn new(mesh: Arc<Mesh>, book: AddressBook, metadata_exchange: bool) -> Self {
        let snapshot = Snapshot {
            mesh,
            book,
            metadata_exchange,
            version: version(1),
            changes: Changes::default(),
            broken_names: 0,
        };
        Self {
            published: watch::Sender::new(Arc::new(snapshot.clone())),
            next: Mutex::new(snapshot),
            changes: watch::Sender::new(0),
            counter: Mutex::new(1),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// Returns the newest mesh, which may not be pushed yet.
    pub(crate) fn mesh(&self) -> Arc<Mesh> {
        self.next.lock().mesh.clone()
    }

    /// Replaces the mesh, and triggers a push after the debounce.
    pub(crate) fn change(&self, mesh: Arc<Mesh>) {
        {
            let mut next = self.next.lock();
            let old = std::mem::replace(&mut next.mesh, mesh.clone());
            next.changes.note(&old, &mesh);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Pushes an invalid name table to all clients immediately.
    pub(crate) fn break_names(&self) {
        self.next.lock().broken_names += 1;
        self.publish();
    }

    /// Returns a future that publishes a snapshot after each burst of changes, until it is dropped. A change between
    /// this call and the first poll of the future is published, too.
    pub(crate) fn run(self: Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let changes = self.changes.subscribe();
        self.publish_changes(changes)
    }

    async fn publish_changes(self: Arc<Self>, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            let latest = Instant::now() + LONGEST;
            loop {
                let quiet = (Instant::now() + QUIET).min(latest);
                if timeout_at(quiet, changes.changed()).await.is_err() {
                    break;
                }
            }
            self.publish();
        }
    }

    fn publish(&self) {
        let mut next = self.next.lock();
        let mut counter = self.counter.lock();
        *counter += 1;
        next.version = version(*counter);
        next.changes.now += 1;
        self.published.send_replace(Arc::new(next.clone()));
    }
}

/// Returns a version such as `1795428000/7`: the time in seconds since 1970, and the number of the push.
fn version(counter: u64) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{seconds}/{counter}")
}
