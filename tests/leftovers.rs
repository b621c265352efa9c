//! A dropped client leaves no resources in the process. This is the only test of its process, because it counts
//! descriptors and threads.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed setup fails the test")]

use std::{fs, time::Duration};

use mesh_connector::nds_client::{Config, NdsClient};
use mesh_sandbox::{Event, Sandbox};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the numbers of descriptors and threads of this process.
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

/// Joins a sandbox and drops the client, `times` times, and waits until both ends of the connections are closed.
fn clients(runtime: &Runtime, times: usize) {
    // The sandbox has its own runtime, which ends with all its tasks.
    let sandbox_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mesh");
    let sandbox =
        sandbox_runtime.block_on(Sandbox::builder().with_mesh_dir(folder).without_reload().start()).unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let config =
        Config::builder().with_vm_files(vm.path()).with_state_dir(vm.path().join("state")).build().unwrap();
    runtime.block_on(async {
        for _ in 0..times {
            let mark = sandbox.events().mark();
            join_and_drop(&config).await;
            let gone = |event: &Event| matches!(event, Event::AdsDisconnected { .. }).then_some(());
            tokio::time::timeout(PATIENCE, sandbox.events().wait_since(mark, gone)).await.unwrap();
        }
        // Blocking tasks run in order, so the remaining work of clients is done before this one.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
    });
    drop(sandbox);
    drop(sandbox_runtime);
}

#[test]
fn dropping_the_last_handle_leaves_no_descriptor_and_no_thread() {
    let mut builder = Builder::new_current_thread();
    // One thread for blocking work, which the first client starts and which remains.
    let runtime = builder
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(3600))
        .build()
        .unwrap();
    clients(&runtime, 1);
    let before = things();
    clients(&runtime, 20);
    assert_eq!(things(), before);
}
