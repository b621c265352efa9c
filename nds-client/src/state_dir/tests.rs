//! A state directory that is damaged, in use, full or missing.

use std::{fs, time::Duration};

use tokio::time::timeout;

use crate::{
    error::ErrorKind,
    health::Health,
    testing::{identity, join, mesh, mesh_with_state_dir},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn damaged_files_are_reported_and_replaced() {
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
async fn a_directory_in_use_is_reported_and_only_read() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let first = join(&istiod, &config, &state).await;
    let second = istiod.join(config).await.unwrap();
    assert_eq!(identity(&second).not_after(), identity(&first).not_after(), "the second client reads it");
    let reason = second.health().get().storage.clone().unwrap();
    assert!(reason.to_string().contains("another process"), "{reason}");
    assert!(first.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_directory_in_use_is_written_after_the_other_process_has_exited() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let first = join(&istiod, &config, &state).await;
    let second = istiod.join(config).await.unwrap();
    fs::remove_file(state.join("identity.pem")).unwrap();
    drop(first);
    second.health().clone().wait_for(Health::is_ok).await.unwrap();
    second.persisted(|| state.join("identity.pem").is_file()).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_of_the_certificate_is_retried() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    fs::create_dir_all(state.join("identity.pem")).unwrap();
    let client = istiod.join(config).await.unwrap();
    let mut health = client.health().clone();
    let failed = health.wait_for(|health| health.storage.is_some()).await.unwrap();
    assert_eq!(failed.storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("identity.pem")).unwrap();
    health.wait_for(Health::is_ok).await.unwrap();
    client.persisted(|| state.join("identity.pem").is_file()).await;
    assert_eq!(istiod.issued(), 1, "before the renewal");
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_of_the_snapshot_is_retried() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    fs::create_dir_all(state.join("snapshot")).unwrap();
    let client = istiod.join(config).await.unwrap();
    let mut health = client.health().clone();
    let failed = health.wait_for(|health| health.storage.is_some()).await.unwrap();
    assert_eq!(failed.storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    fs::remove_dir(state.join("snapshot")).unwrap();
    timeout(DAY / 100, health.wait_for(Health::is_ok)).await.expect("before the regular refresh").unwrap();
    assert!(state.join("snapshot").is_file());
}

#[tokio::test(start_paused = true)]
async fn a_vm_joins_without_a_usable_state_directory() {
    let (_dir, istiod, config) = mesh();
    let client =
        istiod.join(config.with(|config| config.state_dir = Some("/proc/nowhere".into()))).await.unwrap();
    assert_eq!(client.health().get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_the_latest_values_are_in_the_state_directory() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let client = istiod.join(config.clone()).await.unwrap();
    client.shutdown().await;
    assert!(state.join("identity.pem").is_file() && state.join("snapshot").is_file());
    client.shutdown().await;
    assert!(!client.names().load().is_empty(), "published values stay readable");
    let next = istiod.spawn(config);
    assert!(next.health().get().storage.is_none(), "the directory is released");
    assert_eq!(next.names().load().len(), client.names().load().len());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_a_state_directory_ends_the_tasks() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    tokio::join!(client.shutdown(), client.shutdown());
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_others_can_change_has_no_effect_until_it_is_corrected() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let client = istiod.join(config.clone()).await.unwrap();
    client.shutdown().await;
    let written = fs::read(state.join("snapshot")).unwrap();
    let set_mode = |mode| fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o777);
    let client = istiod.spawn(config);
    assert!(client.identity().current().is_none() && client.names().load().is_empty(), "nothing is read");
    let error = client.health().get().storage.clone().unwrap();
    assert!(error.report().contains("writable for other users"), "{}", error.report());
    client.ready().await.unwrap();
    istiod.set_names(&[("other.example", "10.0.0.2")]);
    client.names().clone().wait_for(|names| names.get("other.example").is_some()).await.unwrap();
    assert_eq!(fs::read(state.join("snapshot")).unwrap(), written, "nothing is written");
    set_mode(0o700);
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
    client.persisted(|| fs::read(state.join("snapshot")).unwrap() != written).await;
}

#[tokio::test(start_paused = true)]
async fn roots_in_the_directory_do_not_replace_the_configured_ones() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    let other = crate::testing::Authority::new("another", istiod.clock());
    fs::write(state.join("roots.pem"), other.root_pem()).unwrap();
    let client = istiod.spawn(config.clone());
    let roots = client.state().identity.roots();
    assert_eq!((roots.configured, roots.issued), (config.roots, vec![other.root()]));
    client.ready().await.unwrap();
}
