//! The state folder: what outlives the process. It is read before istiod is asked, and written when something changes.

mod folder;
mod identity;
#[cfg_attr(fuzzing, allow(unreachable_pub, reason = "the fuzz targets read snapshots"))]
pub(crate) mod snapshot;
mod writer;

use self::snapshot::{Owner, Snapshot};
pub(crate) use self::{folder::Folder, writer::run};
use crate::{
    error::{Error, ErrorKind},
    health::StateDirPart,
    state::State,
};

const SNAPSHOT: &str = "snapshot";

/// Opens the state folder and puts what is in it into use.
pub(crate) fn restore(state: &State) -> Option<Folder> {
    let config = &state.runtime.config;
    let folder = Folder::new(config.state_dir.as_ref()?);
    // What is in it can perhaps be read all the same.
    report(state, StateDirPart::Folder, folder.acquire().err());
    if config.certificate_files.is_none() {
        report(state, StateDirPart::Identity, restore_identity(state, &folder).err());
    }
    if !config.snapshot_age.is_zero() {
        report(state, StateDirPart::Snapshot, restore_snapshot(state, &folder).err());
    }
    Some(folder)
}

fn restore_identity(state: &State, folder: &Folder) -> Result<(), Error> {
    let roots = identity::roots(folder)?;
    state.identity.change_roots(|all| all.issued.clone_from(&roots))?;
    let Some(identity) = identity::load(folder, &state.runtime)? else {
        return Ok(());
    };
    let identity = state.identity.replace(identity, roots)?;
    let remaining = identity.remaining(state.runtime.now());
    tracing::info!(spiffe_id = %identity.spiffe_id(), ?remaining, "certificate of an earlier run");
    state.health.certificate_read(identity.not_after());
    Ok(())
}

fn restore_snapshot(state: &State, folder: &Folder) -> Result<(), Error> {
    let Some(file) = folder.read(SNAPSHOT)? else { return Ok(()) };
    let (owner, now) = (Owner::of(state), state.runtime.now());
    let Snapshot { names, clusters, endpoints, age } =
        snapshot::read(&file, &owner, now, state.runtime.config.snapshot_age).map_err(|reason| {
            let message = format!("{} {reason}: it is not used", folder.path(SNAPSHOT).display());
            Error::new(ErrorKind::Storage, message)
        })?;
    tracing::info!(names = names.len(), ?age, "what istiod said to an earlier run");
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
        tracing::warn!(error = error.report(), "state folder");
        state.health.state_dir(part, Some(error));
    }
}

#[cfg(test)]
mod tests;
