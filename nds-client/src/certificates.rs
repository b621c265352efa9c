//! The certificate of this process: obtained, renewed, replaced.

mod clock;
mod files;
mod manager;
mod schedule;

use std::sync::Arc;

use crate::state::State;

/// Provides the identity for as long as the client lives. Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let State { runtime, identity, health, .. } = &*state;
    match &runtime.config.certificate_files {
        Some(files) => files::follow(runtime, identity, health, files).await,
        None => manager::Manager { runtime, identity, health }.run().await,
    }
}

#[cfg(test)]
mod tests;
