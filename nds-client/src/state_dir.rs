//! The state directory, which persists the identity and the resources across restarts. It is read before the connection
//! to istiod and written after changes. A directory that another user could change is neither read nor written.

mod directory;
mod identity;
mod lock;
#[cfg_attr(fuzzing, allow(unreachable_pub, reason = "the fuzz targets read snapshots"))]
pub(crate) mod snapshot;
mod trusted;
mod writer;

use self::snapshot::{Owner, Snapshot};
pub(crate) use self::{directory::Directory, writer::run};
use crate::{
    error::{Error, ErrorKind},
    health::StateDirPart,
    resources::name_table::NameHasher,
    state::State,
};

const SNAPSHOT: &str = "snapshot";

/// Opens the state directory, and publishes the identity and the resources in it. The health reports errors. Returns
/// `None` if no state directory is configured.
pub(crate) fn restore(state: &State) -> Option<Directory> {
    let config = &state.runtime.config;
    let directory = Directory::new(config.state_dir.as_ref()?);
    // The files are readable if only the lock is not available.
    report(state, StateDirPart::Directory, directory.lock().err());
    if config.certificate_files.is_none() {
        report(state, StateDirPart::Identity, restore_identity(state, &directory).err());
    }
    if !config.snapshot_age.is_zero() {
        report(state, StateDirPart::Snapshot, restore_snapshot(state, &directory).err());
    }
    Some(directory)
}

fn restore_identity(state: &State, directory: &Directory) -> Result<(), Error> {
    let roots = identity::roots(directory)?;
    state.identity.change_roots(|all| all.issued.clone_from(&roots))?;
    let Some(identity) = identity::load(directory, &state.runtime)? else {
        return Ok(());
    };
    let identity = state.identity.replace(identity, roots)?;
    let remaining = identity.remaining(state.runtime.now());
    tracing::info!(spiffe_id = %identity.spiffe_id(), ?remaining, "restored the certificate from the state directory");
    state.health.certificate_read(identity.not_after());
    Ok(())
}

fn restore_snapshot(state: &State, directory: &Directory) -> Result<(), Error> {
    let Some(file) = directory.read(SNAPSHOT)? else { return Ok(()) };
    let (owner, now) = (Owner::new(state), state.runtime.now());
    let hasher = NameHasher::with_seed(fastrand::u64(..));
    let snapshot = snapshot::read(&file, &owner, now, state.runtime.config.snapshot_age, hasher);
    let Snapshot { names, clusters, endpoints, age } = snapshot.map_err(|reason| {
        let message = format!("the snapshot {} is ignored: {reason}", directory.path(SNAPSHOT).display());
        Error::new(ErrorKind::Storage, message)
    })?;
    tracing::info!(names = names.len(), ?age, "restored the snapshot from the state directory");
    state.published.replace_names(names);
    if let Some(clusters) = clusters {
        state.subscriptions.subscribe_clusters();
        state.published.replace_clusters(clusters);
    }
    state.subscriptions.restore(endpoints);
    state.health.restored(age);
    Ok(())
}

fn report(state: &State, part: StateDirPart, error: Option<Error>) {
    if let Some(error) = error {
        tracing::warn!(error = error.report(), "the state directory cannot be used completely");
        state.health.state_dir(part, Some(error));
    }
}

#[cfg(test)]
mod tests;
