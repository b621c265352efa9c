//! A state folder that is broken, in use, full, or not there.

use std::{fs, path::Path};

use tokio::time::{sleep, timeout};

use super::{
    lasting::{DAY, identity, join, vm},
    *,
};
use crate::{NdsClient, testing::mesh};

#[tokio::test(start_paused = true)]
async fn broken_files_in_the_folder_are_told_and_replaced() {
    let (_dir, _istiod, config, state) = vm();
    drop(join(&config, &state).await);
    fs::write(state.join("identity.pem"), "nonsense").unwrap();
    let client = NdsClient::spawn(config.clone()).unwrap();
    assert!(client.health().get().storage.as_ref().unwrap().report().contains("identity.pem"));
    client.ready().await.unwrap();
    client.health().clone().wait_for(|health| health.storage.is_none()).await.unwrap();
    drop(client);
    assert!(NdsClient::spawn(config).unwrap().identity().get().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_use_is_told_and_left_alone() {
    let (_dir, _istiod, config, state) = vm();
    let first = join(&config, &state).await;
    let second = NdsClient::join(config).await.unwrap();
    assert_eq!(identity(&second).not_after(), identity(&first).not_after(), "it is read");
    let reason = second.health().get().storage.clone().unwrap();
    assert!(reason.to_string().contains("another process"), "{reason}");
    assert!(first.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_use_is_taken_over_when_the_other_process_has_ended() {
    let (_dir, _istiod, config, state) = vm();
    let first = join(&config, &state).await;
    let second = NdsClient::join(config).await.unwrap();
    fs::remove_file(state.join("identity.pem")).unwrap();
    drop(first);
    second.health().clone().wait_for(crate::Health::is_ok).await.unwrap();
    written(&state).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_could_not_be_written_is_written_when_it_can_be() {
    let (_dir, istiod, config, state) = vm();
    fs::create_dir_all(state.join("identity.pem")).unwrap();
    let client = NdsClient::join(config).await.unwrap();
    let mut health = client.health().clone();
    sleep(DAY / 24).await;
    assert_eq!(health.get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("identity.pem")).unwrap();
    health.wait_for(crate::Health::is_ok).await.unwrap();
    written(&state).await;
    assert_eq!(istiod.issued(), 1, "long before it is renewed");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_could_not_be_written_is_written_when_it_can_be() {
    let (_dir, _istiod, config, state) = vm();
    fs::create_dir_all(state.join("snapshot")).unwrap();
    let client = NdsClient::join(config).await.unwrap();
    sleep(DAY / 1000).await;
    let mut health = client.health().clone();
    assert_eq!(health.get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("snapshot")).unwrap();
    timeout(DAY / 100, health.wait_for(crate::Health::is_ok))
        .await
        .expect("long before the next hour")
        .unwrap();
    assert!(state.join("snapshot").is_file());
}

/// Until there is a certificate in the folder.
async fn written(state: &Path) {
    while !state.join("identity.pem").exists() {
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_used_does_not_keep_a_vm_from_joining() {
    let (_dir, _istiod, config) = mesh();
    let client = NdsClient::join(config.with_state_dir("/proc/nowhere")).await.unwrap();
    assert_eq!(client.health().get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
}
