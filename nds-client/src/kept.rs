//! What outlives the process: read before istiod is asked, written when it changes.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    Error, ErrorKind, Identity, SyncState,
    identity::stored,
    snapshot::{self, Owner, Snapshot},
    state::{Kept, State},
    storage::Storage,
};

const SNAPSHOT: &str = "snapshot";
/// Changes come in groups: a new mesh has names, then clusters, then endpoints.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two snapshots, however much changes.
const APART: Duration = Duration::from_secs(10);
/// After a failure, until it is tried again: somebody may have made space.
const AGAIN: Duration = Duration::from_secs(60);
/// A snapshot of what has not changed says by its date that it still holds.
const REFRESH: Duration = Duration::from_secs(60 * 60);

/// Opens the state folder and puts what is in it into use.
pub(crate) fn restore(state: &State) -> Option<Storage> {
    let dir = state.config.state_dir.as_ref()?;
    let storage = Storage::new(dir);
    // What is in it can perhaps be read all the same.
    note(state, Kept::Folder, storage.acquire().err());
    if state.config.certificate_files.is_none() {
        note(state, Kept::Identity, restore_identity(state, &storage).err());
    }
    if !state.config.snapshot_age.is_zero() {
        note(state, Kept::Snapshot, restore_snapshot(state, &storage).err());
    }
    Some(storage)
}

fn restore_identity(state: &State, storage: &Storage) -> Result<(), Error> {
    let roots = stored::roots(storage)?;
    state.identity.change_roots(|all| all.issued.clone_from(&roots))?;
    let now = state.config.clock.now();
    let Some(identity) = stored::identity(storage, &state.config, now)? else {
        return Ok(());
    };
    let identity = state.identity.replace(identity, roots)?;
    tracing::info!(
        spiffe_id = %identity.spiffe_id(), remaining = ?identity.remaining(now), "certificate of an earlier run"
    );
    state.set_health(|health| health.certificate_ends = Some(identity.not_after()));
    Ok(())
}

fn restore_snapshot(state: &State, storage: &Storage) -> Result<(), Error> {
    let Some(file) = storage.read(SNAPSHOT)? else { return Ok(()) };
    let (owner, now) = (Owner::of(state), state.config.clock.now());
    let Snapshot { names, clusters, endpoints, age } =
        snapshot::read(&file, &owner, now, state.config.snapshot_age).map_err(|reason| {
            let message = format!("{} {reason}: it is not used", storage.path(SNAPSHOT).display());
            Error::new(ErrorKind::Storage, message)
        })?;
    tracing::info!(names = names.len(), ?age, "what istiod said to an earlier run");
    if let Some(names) = names.after(&state.names.load()) {
        state.names.send(names);
    }
    if let Some(clusters) = clusters {
        state.subscriptions.subscribe_clusters();
        state.clusters.send(Some(Arc::new(clusters)));
    }
    state.restore_endpoints(endpoints);
    state.set_health(|health| health.sync = SyncState::FromDisk { age });
    Ok(())
}

/// Writes what changes. Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>, storage: Option<Weak<Storage>>) {
    let Some(storage) = storage else { return };
    let is_ours = storage.upgrade().is_some_and(|storage| storage.is_ours());
    let restored = state.identity.get().map(|identity| identity.epoch()).filter(|_| is_ours);
    if is_ours || acquire(&state, &storage).await {
        tokio::join!(keep_identity(&state, &storage, restored), keep_snapshot(&state, &storage));
    }
}

/// Waits until the folder can be written to. The process before this one may still be about to end.
async fn acquire(state: &State, storage: &Weak<Storage>) -> bool {
    loop {
        sleep(AGAIN).await;
        let Some(storage) = storage.upgrade() else { return false };
        if storage.acquire().is_ok() {
            tracing::info!("the state folder can be written to now");
            state.note_kept(Kept::Folder, None);
            return true;
        }
    }
}

async fn keep_identity(state: &State, storage: &Weak<Storage>, mut written: Option<u64>) {
    if state.config.certificate_files.is_some() {
        return;
    }
    let mut identities = state.identity.subscribe();
    loop {
        let fresh = state.identity.get().filter(|identity| Some(identity.epoch()) != written);
        let mut failed = false;
        if let Some(identity) = fresh {
            let Some(storage) = storage.upgrade() else { return };
            let epoch = identity.epoch();
            failed = !write_identity(state, storage, identity).await;
            written = Some(epoch).filter(|_| !failed);
        }
        if timeout(if failed { AGAIN } else { REFRESH }, identities.changed()).await == Ok(false) {
            return;
        }
    }
}

/// Whether that succeeded.
async fn write_identity(state: &State, storage: Arc<Storage>, identity: Arc<Identity>) -> bool {
    let learnt = state.identity.roots().learnt();
    let outcome = spawn_blocking(move || stored::store(&storage, &identity, &learnt));
    note_written(
        state,
        Kept::Identity,
        outcome.await,
        "the certificate is not kept: a restart needs a valid token",
    )
}

async fn keep_snapshot(state: &Arc<State>, storage: &Weak<Storage>) {
    if state.config.snapshot_age.is_zero() {
        return;
    }
    let mut names = state.names.subscribe();
    let mut clusters = state.clusters.subscribe();
    let mut endpoints = state.subscriptions.published();
    let mut patience = REFRESH;
    loop {
        {
            let (mut names, mut clusters) = (pin!(names.changed()), pin!(clusters.changed()));
            let mut endpoints = pin!(endpoints.changed());
            let change = async {
                tokio::select! {
                    more = &mut names => more,
                    more = &mut clusters => more,
                    more = &mut endpoints => more,
                }
            };
            if timeout(patience, change).await == Ok(false) {
                return;
            }
        }
        sleep(SETTLE).await;
        names.mark_seen();
        clusters.mark_seen();
        endpoints.mark_seen();
        // What comes from the disk is there already, and no younger for that.
        if !matches!(state.health.load().sync, SyncState::Synced) {
            continue;
        }
        let Some(storage) = storage.upgrade() else { return };
        patience = if write_snapshot(state.clone(), storage).await { REFRESH } else { AGAIN };
        sleep(APART).await;
    }
}

/// Whether that succeeded.
async fn write_snapshot(state: Arc<State>, storage: Arc<Storage>) -> bool {
    let at = state.clone();
    let outcome = spawn_blocking(move || {
        let (owner, now) = (Owner::of(&at), at.config.clock.now());
        let (names, clusters, endpoints) =
            (at.names.load(), at.clusters.load(), at.subscriptions.endpoints());
        let known = (&*names, clusters.as_deref(), &endpoints[..]);
        storage.write_with(SNAPSHOT, |file| {
            snapshot::write(&owner, now, known, |piece| std::io::Write::write_all(file, piece))
        })
    });
    note_written(&state, Kept::Snapshot, outcome.await, "no snapshot: a restart waits for istiod")
}

/// Whether a file was written, told to whoever reads the health.
fn note_written(
    state: &State,
    kept: Kept,
    outcome: Result<Result<(), Error>, JoinError>,
    so_what: &'static str,
) -> bool {
    // Another outcome is the end of the runtime.
    let Ok(outcome) = outcome else { return false };
    if let Err(error) = &outcome {
        tracing::warn!(error = error.report(), so_what);
    }
    let written = outcome.is_ok();
    state.note_kept(kept, outcome.err());
    written
}

fn note(state: &State, kept: Kept, reason: Option<Error>) {
    if let Some(error) = reason {
        tracing::warn!(error = error.report(), "state folder");
        state.note_kept(kept, Some(error));
    }
}
