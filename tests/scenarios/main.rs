//! Tests of whole paths on the sandbox: failures, and the errors that callers see.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed setup fails the test")]

mod calls;
mod control_plane;
mod external;
mod joining;

use mesh_connector::{Config, Mesh};
use mesh_resolver::Upstream;
use mesh_sandbox::{Sandbox, VmFiles};

/// The mesh of the tour, and a VM that has joined it.
struct Stage {
    sandbox: Sandbox,
    mesh: Mesh,
    /// The folder must exist as long as the client, which reads the token for each request.
    _vm: VmFiles,
}

async fn sandbox() -> Sandbox {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mesh");
    Sandbox::builder().with_mesh_dir(folder).without_reload().start().await.expect("the sandbox starts")
}

async fn stage() -> Stage {
    let sandbox = sandbox().await;
    let vm = sandbox.vm_files("vms/edge-app").expect("VM files");
    let upstream = Upstream::servers([sandbox.upstream_dns()]);
    let config = Config::from_vm_files(vm.path()).expect("a configuration");
    let mesh = Mesh::builder(config).with_upstream(upstream).join().await.expect("the VM joins");
    Stage { sandbox, mesh, _vm: vm }
}
