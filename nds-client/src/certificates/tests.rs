//! Certificates that are issued, renewed, replaced and refused, under tokio's paused clock.

mod files;
mod lasting;
mod rotation;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    client::NdsClient,
    config::Config,
    error::ErrorKind,
    health::{Health, SyncState},
    identity::Identity,
    testing::{self, Authority, Door, ID, Istiod, mesh, mesh_with_state_dir},
};

fn identity(client: &NdsClient) -> Arc<Identity> {
    client.identity().current().unwrap()
}

/// Joins, and waits until the identity has been written.
async fn join(istiod: &Istiod, config: &Config, state: &Path) -> NdsClient {
    let client = istiod.join(config.clone()).await.unwrap();
    client.persisted(|| state.join("identity.pem").is_file()).await;
    client
}
