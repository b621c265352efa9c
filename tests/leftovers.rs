//! A client that is dropped leaves nothing in the process. The only test of its process, because it counts what is there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, time::Duration};

use mesh_connector::nds_client::{Config, NdsClient};
use mesh_sandbox::Sandbox;

const PATIENCE: Duration = Duration::from_secs(20);

/// Descriptors and threads of this process.
fn things() -> (usize, usize) {
    let count = |folder| fs::read_dir(folder).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

async fn join_and_drop(config: &Config) {
    let client = NdsClient::join(config.clone()).await.unwrap();
    let clusters = client.wait_for_clusters(PATIENCE).await.unwrap();
    let name = clusters.iter().find_map(|cluster| cluster.eds_name()).unwrap();
    client.wait_for_endpoints(&name, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_leaves_no_descriptor_and_no_thread() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mesh");
    let sandbox = Sandbox::builder().mesh_dir(folder).without_reload().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let config = Config::from_vm_files(vm.path()).unwrap().with_state_dir(vm.path().join("state"));
    // The first one starts the runtime's threads for blocking work.
    join_and_drop(&config).await;
    let before = tokio::time::timeout(PATIENCE, settled()).await.unwrap();
    for _ in 0..20 {
        join_and_drop(&config).await;
    }
    let gone = async {
        while {
            let now = things();
            now.0 > before.0 || now.1 > before.1
        } {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, gone).await;
    assert!(outcome.is_ok(), "{before:?} before, {:?} after", things());
}

/// What is there once the sandbox has noticed the end of its connections.
async fn settled() -> (usize, usize) {
    let mut last = things();
    let mut same = 0;
    while same < 1000 {
        tokio::task::yield_now().await;
        let now = things();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
