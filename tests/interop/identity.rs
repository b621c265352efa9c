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

/// Returns the files of a VM whose state directory is beside them.
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

/// Waits until a certificate, and roots that match `like`, have been persisted.
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

pub(crate) async fn a_restarted_vm_joins_with_an_expired_token() {
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

pub(crate) async fn a_certificate_of_a_replaced_ca_is_dropped_and_the_token_is_used() {
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

pub(crate) async fn a_certificate_in_files_is_reloaded_after_another_process_renewed_it() {
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

/// Writes the files of a CA into the folder that istiod watches. The root is the last file, because istiod watches it.
fn plug(mesh: &RealMesh, ca: &PluggedCa, roots: &[&PluggedCa]) {
    for (name, text) in ca.files(roots) {
        mesh.write(&format!("cacerts/{name}"), &text);
    }
}

pub(crate) async fn pushed_roots_are_trusted_immediately_and_clients_survive_a_root_rotation() {
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
    assert_eq!(both.not_after(), first.not_after(), "the roots are updated without a new certificate");

    plug(&mesh, &b, &[&a, &b]);
    plug(&mesh, &b, &[&b]);
    // The root file of the VM contains only the old root, and the certificate of istiod is now signed by the new one.
    let address = mesh.stop_istiod().await;
    mesh.restart_istiod(address).await;
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
    let reason = client.health().get();
    assert!(reason.is_ok(), "{reason:?}");

    // A process that starts afterwards has the old root file and the persisted state.
    let new_root = b.root_pem().lines().nth(3).unwrap().to_owned();
    persisted(&files, move |roots| roots.contains(&new_root)).await;
    drop(client);
    let client = NdsClient::join(config.build().unwrap()).await.unwrap();
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}
