//! The end of tasks: panics, the end of the runtime, shutdown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::timeout;

use crate::{
    clock::Clock,
    error::ErrorKind,
    health::{Health, SyncState},
    testing::{Istiod, join, mesh, mesh_with_state_dir},
};

/// Returns a clock that panics once after the switch is set.
fn defective(istiod: &Istiod) -> (Clock, Arc<AtomicBool>) {
    let (clock, armed) = (istiod.clock(), Arc::new(AtomicBool::new(false)));
    let defective = Clock::new({
        let armed = armed.clone();
        move || {
            assert!(!armed.swap(false, Relaxed), "a defect");
            clock.now()
        }
    });
    (defective, armed)
}

fn is_panic(error: Option<&crate::Error>) -> bool {
    error.is_some_and(|error| error.kind() == ErrorKind::Internal && error.to_string().contains("panicked"))
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_certificate_task_is_reported_and_the_task_starts_again() {
    let (_dir, istiod, config) = mesh();
    let (clock, armed) = defective(&istiod);
    // The first reader of the clock is the TLS handshake of the first certificate request.
    armed.store(true, Relaxed);
    let client = istiod.client(config).with_clock(clock).spawn().unwrap();
    let mut health = client.health().clone();
    health.wait_for(|health| is_panic(health.identity.as_ref())).await.unwrap();
    client.ready().await.unwrap();
    health.wait_for(Health::is_ok).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_stream_task_is_reported_and_the_task_starts_again() {
    let (_dir, istiod, config) = mesh();
    let (clock, armed) = defective(&istiod);
    let client = istiod.client(config).with_clock(clock).join().await.unwrap();
    let mut health = client.health().clone();
    armed.store(true, Relaxed);
    istiod.end_streams();
    let failed = health.wait_for(|health| is_panic(health.stream.as_ref())).await.unwrap();
    assert!(matches!(failed.sync, SyncState::Stale { .. }), "{failed:?}");
    timeout(Duration::from_secs(60), health.wait_for(Health::is_ok)).await.unwrap().unwrap();
    istiod.set_names(&[("after.example", "10.0.0.9")]);
    client.names().clone().wait_for(|names| names.get("after.example").is_some()).await.unwrap();
}

#[test]
fn a_client_whose_runtime_has_ended_is_not_synced() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_dir, _state, client) = runtime.block_on(async {
        let (dir, istiod, config, state) = mesh_with_state_dir();
        let client = join(&istiod, &config, &state).await;
        client.health().clone().wait_for(Health::is_ok).await.unwrap();
        (dir, state, client)
    });
    assert!(client.health().get().is_ok());
    drop(runtime);
    let health = client.health().get();
    assert!(matches!(health.sync, SyncState::Stale { .. }), "{health:?}");
    assert_eq!(health.stream.as_ref().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(health.identity.as_ref().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(client.names().load().len(), 1, "the values stay");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(client.wait_for_clusters(Duration::from_millis(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_shut_down_is_not_synced() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    client.shutdown().await;
    let health = client.health().clone().wait_for(|health| health.sync != SyncState::Synced).await.unwrap();
    assert_eq!(health.stream.as_ref().unwrap().kind(), ErrorKind::Closed);
}
