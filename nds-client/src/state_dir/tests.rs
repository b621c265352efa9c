//! A state folder that is broken, in use, full, or not there.

use std::{fs, time::Duration};

use tokio::time::timeout;

use crate::{
    error::ErrorKind,
    health::Health,
    testing::{identity, join, mesh, mesh_with_state_dir},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn broken_files_in_the_folder_are_told_and_replaced() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    fs::write(state.join("identity.pem"), "nonsense").unwrap();
    let client = istiod.spawn(config.clone());
    assert!(client.health().get().storage.as_ref().unwrap().report().contains("identity.pem"));
    client.ready().await.unwrap();
    client.health().clone().wait_for(|health| health.storage.is_none()).await.unwrap();
    drop(client);
    assert!(istiod.spawn(config).identity().get().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_use_is_told_and_left_alone() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let first = join(&istiod, &config, &state).await;
    let second = istiod.join(config).await.unwrap();
    assert_eq!(identity(&second).not_after(), identity(&first).not_after(), "it is read");
    let reason = second.health().get().storage.clone().unwrap();
    assert!(reason.to_string().contains("another process"), "{reason}");
    assert!(first.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_use_is_taken_over_when_the_other_process_has_ended() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let first = join(&istiod, &config, &state).await;
    let second = istiod.join(config).await.unwrap();
    fs::remove_file(state.join("identity.pem")).unwrap();
    drop(first);
    second.health().clone().wait_for(Health::is_ok).await.unwrap();
    second.persisted(|| state.join("identity.pem").is_file()).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_could_not_be_written_is_written_when_it_can_be() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    fs::create_dir_all(state.join("identity.pem")).unwrap();
    let client = istiod.join(config).await.unwrap();
    let mut health = client.health().clone();
    let failed = health.wait_for(|health| health.storage.is_some()).await.unwrap();
    assert_eq!(failed.storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("identity.pem")).unwrap();
    health.wait_for(Health::is_ok).await.unwrap();
    client.persisted(|| state.join("identity.pem").is_file()).await;
    assert_eq!(istiod.issued(), 1, "long before it is renewed");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_could_not_be_written_is_written_when_it_can_be() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    fs::create_dir_all(state.join("snapshot")).unwrap();
    let client = istiod.join(config).await.unwrap();
    let mut health = client.health().clone();
    let failed = health.wait_for(|health| health.storage.is_some()).await.unwrap();
    assert_eq!(failed.storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("snapshot")).unwrap();
    timeout(DAY / 100, health.wait_for(Health::is_ok)).await.expect("long before the next hour").unwrap();
    assert!(state.join("snapshot").is_file());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_used_does_not_keep_a_vm_from_joining() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config.with_state_dir("/proc/nowhere")).await.unwrap();
    assert_eq!(client.health().get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
}
