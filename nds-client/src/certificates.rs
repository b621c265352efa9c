//! The certificate of this process: issuance, renewal, replacement.

mod clock;
mod files;
mod manager;
mod schedule;

use std::sync::Arc;

use crate::state::State;

/// Publishes the identity of this process, from certificate files or from istiod's CA, until the future is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let State { runtime, identity, health, .. } = &*state;
    match &runtime.config.certificate_files {
        Some(files) => files::follow(runtime, identity, health, files).await,
        None => manager::Manager { runtime, identity, health }.run().await,
    }
}

#[cfg(test)]
mod tests;
