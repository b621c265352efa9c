//! Issuance, renewal, replacement and rejection of certificates, under tokio's paused clock.

mod files;
mod lasting;
mod rotation;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    client::NdsClient,
    config::Config,
    error::ErrorKind,
    health::{Health, SyncState},
    identity::Identity,
    testing::{self, Authority, Connectivity, ID, Istiod, identity, join, mesh, mesh_with_state_dir},
};
