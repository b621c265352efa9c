//! A client that is dropped leaves nothing in the process. The only test of its process, because it counts what is there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, time::Duration};

use mesh_connector::nds_client::{Config, NdsClient};
use mesh_sandbox::{Event, Sandbox};
use tokio::runtime::{Builder, Runtime};

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

/// Joins a sandbox and drops the client, `times` over, and waits until both ends of the connections are gone.
fn clients(runtime: &Runtime, times: usize) {
    // The sandbox has a runtime of its own, which ends with everything in it.
    let sandbox_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mesh");
    let sandbox =
        sandbox_runtime.block_on(Sandbox::builder().mesh_dir(folder).without_reload().start()).unwrap();
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
        // Blocking work comes in turn: what clients still had to do is done before this.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
    });
    drop(sandbox);
    drop(sandbox_runtime);
}

#[test]
fn dropping_the_last_handle_leaves_no_descriptor_and_no_thread() {
    let mut builder = Builder::new_current_thread();
    // One thread for blocking work, which stays: the first client starts it.
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
