//! Writes changes to the state directory.

use std::{
    io::Write as _,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::timeout,
};

use super::{
    SNAPSHOT,
    directory::Directory,
    identity,
    snapshot::{self, Content, Owner},
};
use crate::{
    error::Error, health::StateDirPart, identity::Identity, resources::cluster::Clusters,
    resources::name_table::NameTable, state::State, watched::Watch,
};

/// The delay between a change and a snapshot: changes come in groups (names, then clusters, then endpoints).
const DEBOUNCE: Duration = Duration::from_secs(1);
/// The shortest time between two snapshots.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// The delay before another attempt after a failure, such as a full disk.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The longest time between two snapshots. A snapshot without changes renews the date of the file.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Writes changes to the state directory until `stop` is set, the directory is released, or the future is dropped.
/// Writes pending changes after `stop` is set. Without a directory, returns immediately.
pub(crate) async fn run(state: Arc<State>, directory: Option<Weak<Directory>>, stop: watch::Receiver<bool>) {
    let Some(directory) = directory else { return };
    let is_locked = directory.upgrade().is_some_and(|directory| directory.is_locked());
    if is_locked {
        // Clears the error of a panic: after a panic, this function is called again.
        state.health.state_dir(StateDirPart::Directory, None);
    }
    let restored = state.identity.current().map(|identity| identity.epoch()).filter(|_| is_locked);
    let stop = Stop(stop);
    if is_locked || lock(&state, &directory, stop.clone()).await {
        tokio::join!(
            write_identities(&state, &directory, restored, stop.clone()),
            write_snapshots(&state, &directory, stop),
        );
    }
}

/// The signal that ends the writer.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the signal is set. Returns immediately if it is already set.
    async fn wait(&mut self) {
        // An error means that the sender, and with it the client, is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Waits for `duration`, or until the signal is set.
    async fn sleep(&mut self, duration: Duration) {
        let _ = timeout(duration, self.wait()).await;
    }

    fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Waits until this client holds the lock of the directory. Returns `false` if the writer stops before that.
///
/// The lock is not available while another process holds it, for example the previous one, which is about to exit. It
/// is not available either while another user could change the directory, until its permissions are corrected.
async fn lock(state: &State, directory: &Weak<Directory>, mut stop: Stop) -> bool {
    loop {
        stop.sleep(RETRY_INTERVAL).await;
        if stop.is_set() {
            return false;
        }
        let Some(directory) = directory.upgrade() else { return false };
        if directory.lock().is_ok() {
            tracing::info!("the state directory can be written now: writing to it");
            state.health.state_dir(StateDirPart::Directory, None);
            return true;
        }
    }
}

async fn write_identities(
    state: &State,
    directory: &Weak<Directory>,
    mut written: Option<u64>,
    mut stop: Stop,
) {
    if state.runtime.config.certificate_files.is_some() {
        return;
    }
    let mut identities = state.identity.subscribe();
    loop {
        let stopping = stop.is_set();
        let unwritten = state.identity.current().filter(|identity| Some(identity.epoch()) != written);
        let mut failed = false;
        if let Some(identity) = unwritten {
            let Some(directory) = directory.upgrade() else { return };
            let epoch = identity.epoch();
            failed = !write_identity(state, directory, identity).await;
            written = Some(epoch).filter(|_| !failed);
        }
        if stopping {
            return;
        }
        let wait = timeout(if failed { RETRY_INTERVAL } else { REFRESH_INTERVAL }, identities.changed());
        tokio::select! {
            changed = wait => if changed == Ok(false) { return },
            () = stop.wait() => {}
        }
    }
}

/// Writes the identity. Returns whether the write succeeded.
async fn write_identity(state: &State, directory: Arc<Directory>, identity: Arc<Identity>) -> bool {
    let discovered = state.identity.roots().discovered();
    let outcome = spawn_blocking(move || identity::store(&directory, &identity, &discovered)).await;
    let consequence = "the certificate is not persisted: a restart needs a valid token";
    report(state, StateDirPart::Identity, outcome, consequence)
}

async fn write_snapshots(state: &Arc<State>, directory: &Weak<Directory>, mut stop: Stop) {
    if state.runtime.config.snapshot_age.is_zero() {
        return;
    }
    let mut changes = Changes {
        names: state.published.names.subscribe(),
        clusters: state.published.clusters.subscribe(),
        endpoints: state.subscriptions.published(),
    };
    let mut wait = REFRESH_INTERVAL;
    loop {
        let due = tokio::select! {
            changed = timeout(wait, changes.next()) => match changed {
                Ok(false) => return,
                _ => true,
            },
            () = stop.wait() => false,
        };
        stop.sleep(DEBOUNCE).await;
        let stopping = stop.is_set();
        let due = due || changes.is_pending();
        changes.mark_seen();
        // Values from the state directory are in it already, and writing them again would make them look recent.
        if due && state.health.is_synced() {
            let Some(directory) = directory.upgrade() else { return };
            let written = write_snapshot(state.clone(), directory).await;
            wait = if written { REFRESH_INTERVAL } else { RETRY_INTERVAL };
            if !stopping {
                stop.sleep(MIN_INTERVAL).await;
            }
        }
        if stopping {
            return;
        }
    }
}

/// Watches of the values that a snapshot contains.
struct Changes {
    names: Watch<NameTable>,
    clusters: Watch<Option<Arc<Clusters>>>,
    endpoints: Watch<u64>,
}

impl Changes {
    /// Waits until one of the values changes. Returns `false` once a value can no longer change.
    async fn next(&mut self) -> bool {
        tokio::select! {
            more = self.names.changed() => more,
            more = self.clusters.changed() => more,
            more = self.endpoints.changed() => more,
        }
    }

    /// Returns whether a value has changed since the last call of [`mark_seen`](Self::mark_seen).
    fn is_pending(&self) -> bool {
        self.names.has_changed() || self.clusters.has_changed() || self.endpoints.has_changed()
    }

    fn mark_seen(&mut self) {
        self.names.mark_seen();
        self.clusters.mark_seen();
        self.endpoints.mark_seen();
    }
}

/// Writes a snapshot. Returns whether the write succeeded.
async fn write_snapshot(state: Arc<State>, directory: Arc<Directory>) -> bool {
    let at = state.clone();
    let outcome = spawn_blocking(move || {
        let (owner, now) = (Owner::new(&at), at.runtime.now());
        let endpoints = at.subscriptions.endpoints();
        let (names, clusters) = (at.published.names.load(), at.published.clusters.load());
        directory.write_with(SNAPSHOT, |file| {
            let content = Content { names: &names, clusters: clusters.as_deref(), endpoints: &endpoints };
            snapshot::write(&owner, now, content, |piece| file.write_all(piece))
        })
    });
    report(
        &state,
        StateDirPart::Snapshot,
        outcome.await,
        "the snapshot is not written: a restart waits for istiod",
    )
}

/// Updates the health after a write. Returns whether the write succeeded.
fn report(
    state: &State,
    part: StateDirPart,
    outcome: Result<Result<(), Error>, JoinError>,
    consequence: &'static str,
) -> bool {
    // A join error means that the runtime is shutting down.
    let Ok(outcome) = outcome else { return false };
    if let Err(error) = &outcome {
        tracing::warn!(error = error.report(), consequence);
    }
    let written = outcome.is_ok();
    state.health.state_dir(part, outcome.err());
    #[cfg(test)]
    state.persisted.send_replace(());
    written
}
