//! A real istiod, real gateways and workloads with real certificates, as `tests/peers` builds them.

pub mod agent;
mod child;
mod mesh;

use std::{env, path::PathBuf};

pub use self::{
    child::{Child, may_mount},
    mesh::{CLIENT_SIDECAR, RealMesh, RealMeshBuilder, Workload},
};

/// Where `tests/peers/build.sh` puts the peers.
///
/// # Errors
///
/// They are not there: which file is missing, and what builds it.
pub fn find() -> Result<PathBuf, String> {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let dir = env::var_os("PEERS_OUT").map_or(built, PathBuf::from);
    let needed = ["peers", "venv/bin/envoy", "envoy_bootstrap.json"];
    match needed.iter().find(|file| !dir.join(file).exists()) {
        None => Ok(dir.join("peers")),
        Some(missing) => {
            Err(format!("{} is not there: run tests/peers/build.sh", dir.join(missing).display()))
        }
    }
}

/// Whether missing peers are a failure: `SIDESTEP_PEERS=required`.
pub fn required() -> bool {
    env::var_os("SIDESTEP_PEERS").is_some_and(|value| value == "required")
}
