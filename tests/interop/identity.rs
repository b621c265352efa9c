//! Identities that outlive processes, tokens and roots.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_tests::{peers::RealMesh, pki::PluggedCa, vm_files::Vm};
use nds_client::{Config, ConfigBuilder, Identity, NdsClient, health::Health};

use crate::state_dir;

/// The files of a VM whose state folder is beside them.
fn vm(mesh: &RealMesh) -> (PathBuf, ConfigBuilder) {
    let files = mesh.vm_files(&Vm::default());
    let config = Config::builder().with_vm_files(&files).with_state_dir(files.join("state"));
    (files, config)
}

/// Joins, and waits until certificate and roots have been persisted.
async fn join(config: &ConfigBuilder, files: &Path) -> NdsClient {
    let client = NdsClient::join(config.clone().build().unwrap()).await.unwrap();
    persisted(files, |_| true).await;
    client
}

/// Waits until certificate and roots have been persisted, the roots like this.
async fn persisted(files: &Path, like: impl Fn(&str) -> bool + Send + 'static) {
    let is_there = move |folder: &Path| {
        let roots = fs::read_to_string(folder.join("roots.pem"));
        folder.join("identity.pem").exists() && roots.is_ok_and(|roots| like(&roots))
    };
    state_dir::wait_for(files.join("state"), is_there).await;
}

async fn identity(client: &NdsClient, like: impl Fn(&Identity) -> bool) -> Arc<Identity> {
    let mut identities = client.identity().clone();
    let found = identities.wait_for(|one| one.as_deref().is_some_and(&like)).await.unwrap();
    (*found).clone().unwrap()
}

fn kill_token(files: &Path) {
    fs::write(files.join("istio-token"), Vm::default().token("istio-ca", Duration::ZERO)).unwrap();
}

pub(crate) async fn a_vm_that_starts_again_joins_although_its_token_is_long_dead() {
    let mesh = RealMesh::start().await;
    let (files, config) = vm(&mesh);
    let client = join(&config, &files).await;
    let before = identity(&client, |_| true).await.not_after();
    drop(client);
    kill_token(&files);
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    assert_eq!(identity(&client, |_| true).await.not_after(), before);
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}

pub(crate) async fn a_restored_certificate_is_renewed_without_the_token() {
    let mesh = RealMesh::start().await;
    let (files, config) = vm(&mesh);
    let config = config.with_certificate_ttl(Duration::from_secs(8));
    drop(join(&config, &files).await);
    kill_token(&files);
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    identity(&client, |identity| identity.epoch() >= 3).await;
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}

pub(crate) async fn a_certificate_of_a_ca_that_is_gone_is_dropped_for_the_token() {
    let (first, second) = tokio::join!(RealMesh::start(), RealMesh::start());
    let (files, config) = vm(&first);
    let leaf = |identity: &Identity| identity.certified_key().cert[0].clone();
    let old = leaf(&*identity(&join(&config, &files).await, |_| true).await);
    let (_, config) = vm(&second);
    let config = config.with_state_dir(files.join("state"));
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    identity(&client, |identity| leaf(identity) != old).await;
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}

pub(crate) async fn a_certificate_in_files_that_another_process_renews_is_followed() {
    let mesh = RealMesh::start().await;
    let (files, config) = vm(&mesh);
    let agent = join(&config.clone().with_certificate_ttl(Duration::from_secs(30)), &files).await;
    let pair = files.join("state/identity.pem");
    let config = Config::builder().with_vm_files(&files);
    let config = config.with_certificate_files(&pair, &pair, files.join("root-cert.pem"));
    kill_token(&files);
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    let first = identity(&client, |_| true).await;
    let second = identity(&client, |identity| identity.not_after() > first.not_after()).await;
    assert!(second.epoch() > first.epoch());
    drop(agent);
}

/// Writes the files of a CA into the folder that istiod watches, the root last: it is what istiod looks at.
fn plug(mesh: &RealMesh, ca: &PluggedCa, roots: &[&PluggedCa]) {
    for (name, text) in ca.files(roots) {
        mesh.write(&format!("cacerts/{name}"), &text);
    }
}

pub(crate) async fn roots_that_istiod_pushes_are_trusted_at_once_and_a_rotation_locks_nobody_out() {
    let (a, b) = (PluggedCa::new("a"), PluggedCa::new("b"));
    let files = a.files(&[&a]);
    let builder = RealMesh::builder().environment("ISTIO_MULTIROOT_MESH", "true");
    let builder =
        files.iter().fold(builder, |mesh, (name, text)| mesh.file(&format!("cacerts/{name}"), text));
    let mut mesh = builder.start().await;
    let (files, config) = vm(&mesh);
    let client = join(&config, &files).await;
    let first = identity(&client, |_| true).await;
    assert_eq!(first.roots().len(), 1);

    plug(&mesh, &a, &[&a, &b]);
    let both = identity(&client, |identity| identity.roots().len() == 2).await;
    assert!(both.epoch() > first.epoch());
    assert_eq!(both.not_after(), first.not_after(), "roots come without a new certificate");

    plug(&mesh, &b, &[&a, &b]);
    plug(&mesh, &b, &[&b]);
    // The VM's root file knows only the old root; istiod's own certificate is now under the new one.
    let address = mesh.stop_istiod().await;
    mesh.restart_istiod(address).await;
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
    let reason = client.health().get();
    assert!(reason.is_ok(), "{reason:?}");

    // A process that starts after all that has the old root file, and what was kept.
    let new_root = b.root_pem().lines().nth(3).unwrap().to_owned();
    persisted(&files, move |roots| roots.contains(&new_root)).await;
    drop(client);
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}
