//! Writes to the state folder what changes.

use std::{
    io::Write as _,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    SNAPSHOT,
    folder::Folder,
    identity,
    snapshot::{self, Content, Owner},
};
use crate::{
    error::Error, health::StateDirPart, identity::Identity, resources::cluster::Clusters,
    resources::name_table::NameTable, state::State, watch::Watch,
};

/// Changes come in groups: a new mesh has names, then clusters, then endpoints.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two snapshots, however much changes.
const APART: Duration = Duration::from_secs(10);
/// After a failure, until it is tried again: somebody may have made space.
const AGAIN: Duration = Duration::from_secs(60);
/// A snapshot of what has not changed says by its date that it still holds.
const REFRESH: Duration = Duration::from_secs(60 * 60);

/// Runs until it is dropped, or the folder is released.
pub(crate) async fn run(state: Arc<State>, folder: Option<Weak<Folder>>) {
    let Some(folder) = folder else { return };
    let is_ours = folder.upgrade().is_some_and(|folder| folder.is_ours());
    let restored = state.identity.current().map(|identity| identity.epoch()).filter(|_| is_ours);
    if is_ours || acquire(&state, &folder).await {
        tokio::join!(write_identities(&state, &folder, restored), write_snapshots(&state, &folder));
    }
}

/// Waits until the folder can be written to. The process before this one may still be about to end.
async fn acquire(state: &State, folder: &Weak<Folder>) -> bool {
    loop {
        sleep(AGAIN).await;
        let Some(folder) = folder.upgrade() else { return false };
        if folder.acquire().is_ok() {
            tracing::info!("the state folder can be written to now");
            state.health.state_dir(StateDirPart::Folder, None);
            return true;
        }
    }
}

async fn write_identities(state: &State, folder: &Weak<Folder>, mut written: Option<u64>) {
    if state.runtime.config.certificate_files.is_some() {
        return;
    }
    let mut identities = state.identity.subscribe();
    loop {
        let fresh = state.identity.current().filter(|identity| Some(identity.epoch()) != written);
        let mut failed = false;
        if let Some(identity) = fresh {
            let Some(folder) = folder.upgrade() else { return };
            let epoch = identity.epoch();
            failed = !write_identity(state, folder, identity).await;
            written = Some(epoch).filter(|_| !failed);
        }
        if timeout(if failed { AGAIN } else { REFRESH }, identities.changed()).await == Ok(false) {
            return;
        }
    }
}

/// Returns whether that succeeded.
async fn write_identity(state: &State, folder: Arc<Folder>, identity: Arc<Identity>) -> bool {
    let discovered = state.identity.roots().discovered();
    let outcome = spawn_blocking(move || identity::store(&folder, &identity, &discovered)).await;
    let consequence = "the certificate is not persisted: a restart needs a valid token";
    report(state, StateDirPart::Identity, outcome, consequence)
}

async fn write_snapshots(state: &Arc<State>, folder: &Weak<Folder>) {
    if state.runtime.config.snapshot_age.is_zero() {
        return;
    }
    let mut changes = Changes {
        names: state.published.names.subscribe(),
        clusters: state.published.clusters.subscribe(),
        endpoints: state.subscriptions.published(),
    };
    let mut patience = REFRESH;
    loop {
        if timeout(patience, changes.next()).await == Ok(false) {
            return;
        }
        sleep(SETTLE).await;
        changes.mark_seen();
        // What comes from the disk is there already, and no younger for that.
        if !state.health.is_synced() {
            continue;
        }
        let Some(folder) = folder.upgrade() else { return };
        patience = if write_snapshot(state.clone(), folder).await { REFRESH } else { AGAIN };
        sleep(APART).await;
    }
}

/// The values that a snapshot holds.
struct Changes {
    names: Watch<NameTable>,
    clusters: Watch<Option<Arc<Clusters>>>,
    endpoints: Watch<u64>,
}

impl Changes {
    /// Waits until one of the values changes. `false` when none can any more.
    async fn next(&mut self) -> bool {
        tokio::select! {
            more = self.names.changed() => more,
            more = self.clusters.changed() => more,
            more = self.endpoints.changed() => more,
        }
    }

    fn mark_seen(&mut self) {
        self.names.mark_seen();
        self.clusters.mark_seen();
        self.endpoints.mark_seen();
    }
}

/// Returns whether that succeeded.
async fn write_snapshot(state: Arc<State>, folder: Arc<Folder>) -> bool {
    let at = state.clone();
    let outcome = spawn_blocking(move || {
        let (owner, now) = (Owner::of(&at), at.runtime.now());
        let endpoints = at.subscriptions.endpoints();
        let (names, clusters) = (at.published.names.load(), at.published.clusters.load());
        folder.write_with(SNAPSHOT, |file| {
            let content = Content { names: &names, clusters: clusters.as_deref(), endpoints: &endpoints };
            snapshot::write(&owner, now, content, |piece| file.write_all(piece))
        })
    });
    report(&state, StateDirPart::Snapshot, outcome.await, "no snapshot: a restart waits for istiod")
}

/// Tells the health whether a file was written. Returns whether it was.
fn report(
    state: &State,
    part: StateDirPart,
    outcome: Result<Result<(), Error>, JoinError>,
    consequence: &'static str,
) -> bool {
    // Another outcome is the end of the runtime.
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
