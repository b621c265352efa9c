//! A real istiod, real gateways and workloads with real certificates, which `tests/peers` builds.

pub mod agent;
mod child;
mod mesh;

use std::{env, path::PathBuf};

pub use self::{
    child::{Child, may_mount},
    mesh::{CLIENT_SIDECAR, RealMesh, RealMeshBuilder, Workload},
};

/// Returns the path of the peers that `tests/peers/build.sh` builds.
///
/// # Errors
///
/// Names the missing file and the script that builds it.
pub fn find() -> Result<PathBuf, String> {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let dir = env::var_os("PEERS_OUT").map_or(built, PathBuf::from);
    let needed = ["peers", "venv/bin/envoy", "envoy_bootstrap.json"];
    match needed.iter().find(|file| !dir.join(file).exists()) {
        None => Ok(dir.join("peers")),
        Some(missing) => {
            Err(format!("{} does not exist; run tests/peers/build.sh", dir.join(missing).display()))
        }
    }
}

/// Returns whether missing peers are an error: `SIDESTEP_PEERS=required`.
pub fn required() -> bool {
    env::var_os("SIDESTEP_PEERS").is_some_and(|value| value == "required")
}
