//! The certificate of this process: issuance, renewal, replacement.

mod clock;
mod files;
mod manager;
mod schedule;

use std::sync::Arc;

use crate::state::State;

/// Provides the identity until the future is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let State { runtime, identity, health, .. } = &*state;
    match &runtime.config.certificate_files {
        Some(files) => files::follow(runtime, identity, health, files).await,
        None => manager::Manager { runtime, identity, health }.run().await,
    }
}

#[cfg(test)]
mod tests;
