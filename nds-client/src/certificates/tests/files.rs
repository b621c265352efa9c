//! Certificate files that another program renews.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::config::CertificateFiles;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a VM with certificate files and without a token.
fn vm() -> (tempfile::TempDir, Istiod, Config) {
    let (dir, istiod, config) = mesh();
    write(&istiod, dir.path(), HOUR);
    let file = |name: &str| dir.path().join(name);
    let config = config.with(|config| {
        let [chain, key, roots] = ["chain.pem", "key.pem", "roots.pem"].map(file);
        config.certificate_files = Some(CertificateFiles { chain, key, roots: Some(roots) });
    });
    (dir, istiod, Config { token_file: None, ..config })
}

fn write(istiod: &Istiod, dir: &Path, ttl: Duration) {
    let pair = istiod.authority().workload(ID, ttl);
    fs::write(dir.join("chain.pem"), pair.chain).unwrap();
    fs::write(dir.join("key.pem"), pair.key).unwrap();
    fs::write(dir.join("roots.pem"), istiod.authority().root_pem()).unwrap();
}

async fn epoch(client: &NdsClient, epoch: u64) -> Arc<Identity> {
    let mut identities = client.identity().clone();
    let identity = identities.wait_for(|one| one.as_ref().is_some_and(|one| one.epoch() == epoch)).await;
    (*identity.unwrap()).clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_from_files_joins_and_follows_them() {
    let (dir, istiod, config) = vm();
    let client = istiod.join(config).await.unwrap();
    let first = epoch(&client, 1).await;
    write(&istiod, dir.path(), 2 * HOUR);
    let second = epoch(&client, 2).await;
    assert!(second.not_after() > first.not_after());
    assert_eq!(istiod.issued(), 0, "no request to istiod's CA");
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_mismatched_pair_is_not_used_and_reported_after_two_reads() {
    let (dir, istiod, config) = vm();
    let client = istiod.join(config).await.unwrap();
    let other = istiod.authority().workload(ID, HOUR);
    fs::write(dir.path().join("key.pem"), &other.key).unwrap();
    let mut health = client.health().clone();
    let start = tokio::time::Instant::now();
    let reported = health.wait_for(|health| health.identity.is_some()).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(5), "the first failure may be in the middle of a renewal");
    let error = reported.identity.as_ref().unwrap();
    assert!(error.to_string().contains("key.pem"), "{error}");
    assert_eq!(epoch(&client, 1).await.epoch(), 1, "the previous certificate stays in use");
    fs::write(dir.path().join("chain.pem"), &other.chain).unwrap();
    epoch(&client, 2).await;
    health.wait_for(|health| health.identity.is_none()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn truncated_missing_or_expired_files_keep_the_previous_certificate() {
    let (dir, istiod, config) = vm();
    let client = istiod.join(config).await.unwrap();
    let chain = dir.path().join("chain.pem");
    let whole = fs::read_to_string(&chain).unwrap();
    let mut health = client.health().clone();
    let breakages: [&dyn Fn(); 3] = [
        &|| fs::write(&chain, &whole[..whole.len() / 2]).unwrap(),
        &|| fs::remove_file(&chain).unwrap(),
        &|| write(&istiod, dir.path(), Duration::ZERO),
    ];
    for breakage in breakages {
        breakage();
        health.wait_for(|health| health.identity.is_some()).await.unwrap();
        assert_eq!(epoch(&client, 1).await.epoch(), 1);
        write(&istiod, dir.path(), HOUR);
        fs::write(&chain, &whole).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_an_error_with_its_id() {
    let (_dir, istiod, config) = vm();
    let client = istiod.join(config).await.unwrap();
    let mut health = client.health().clone();
    let ended = health.wait_for(|health| health.identity.is_some()).await.unwrap();
    let error = ended.identity.as_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains(ID), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_directory_replaced_through_a_link_is_followed() {
    let (dir, istiod, config) = vm();
    let (link, next) = (dir.path().join("..data"), dir.path().join("..next"));
    let swap = |version: &str, ttl: Duration| {
        let directory = dir.path().join(version);
        fs::create_dir(&directory).unwrap();
        write(&istiod, &directory, ttl);
        symlink(&directory, &next).unwrap();
        fs::rename(&next, &link).unwrap();
    };
    swap("1", HOUR);
    let file = |name: &str| link.join(name);
    let config = config.with(|config| {
        let [chain, key, roots] = ["chain.pem", "key.pem", "roots.pem"].map(file);
        config.certificate_files = Some(CertificateFiles { chain, key, roots: Some(roots) });
    });
    let client = istiod.join(config).await.unwrap();
    let first = epoch(&client, 1).await;
    swap("2", 2 * HOUR);
    assert!(epoch(&client, 2).await.not_after() > first.not_after());
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_client_waits_for_missing_files() {
    let (dir, istiod, config) = vm();
    fs::remove_file(dir.path().join("chain.pem")).unwrap();
    let client = istiod.spawn(config);
    client.health().clone().wait_for(|health| health.identity.is_some()).await.unwrap();
    write(&istiod, dir.path(), HOUR);
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}
