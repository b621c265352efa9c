//! What outlives the process: read before istiod is asked, written when it changes.

use std::sync::{Arc, Weak};

use tokio::task::spawn_blocking;

use crate::{Error, Identity, identity::stored, state::State, storage::Storage};

/// Opens the state folder and puts what is in it into use.
pub(crate) fn restore(state: &State) -> Option<Storage> {
    let dir = state.config.state_dir.as_ref()?;
    let storage = match Storage::open(dir) {
        Ok((storage, reason)) => {
            note(state, reason);
            storage
        }
        Err(error) => {
            note(state, Some(error));
            return None;
        }
    };
    if state.config.certificate_files.is_none() {
        note(state, restore_identity(state, &storage).err());
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

/// Writes what changes. Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>, storage: Option<Weak<Storage>>) {
    let Some(storage) = storage else { return };
    let mut identities = state.identity.watched();
    let mut written = identities.load().as_ref().as_ref().map(|identity| identity.epoch());
    while identities.changed().await {
        let Some(identity) = state.identity.get().filter(|identity| Some(identity.epoch()) != written) else {
            continue;
        };
        written = Some(identity.epoch());
        let Some(storage) = storage.upgrade().filter(|storage| storage.is_ours()) else { return };
        write_identity(&state, storage, identity).await;
    }
}

async fn write_identity(state: &State, storage: Arc<Storage>, identity: Arc<Identity>) {
    if state.config.certificate_files.is_some() {
        return;
    }
    let learnt = state.identity.roots().learnt();
    let outcome = spawn_blocking(move || stored::store(&storage, &identity, &learnt)).await;
    // Another outcome is the end of the runtime.
    if let Ok(outcome) = outcome {
        let failed = outcome.err();
        state.set_health(|health| health.storage.clone_from(&failed));
        if let Some(error) = failed {
            tracing::warn!(
                error = error.report(),
                "the certificate is not kept: a restart needs a valid token"
            );
        }
    }
}

fn note(state: &State, reason: Option<Error>) {
    if let Some(error) = reason {
        tracing::warn!(error = error.report(), "state folder");
        state.set_health(|health| health.storage = Some(error));
    }
}
