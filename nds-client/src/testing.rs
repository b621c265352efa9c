//! An in-process istiod without a network: CA, xDS server and failures, under tokio's clock.

mod ads;
mod ca;
mod istiod;
mod pki;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::crypto::CryptoProvider;
use tempfile::TempDir;

pub(crate) use self::{
    istiod::{Connectivity, Istiod},
    pki::Authority,
};
use crate::{
    client::NdsClient,
    clock::Clock,
    config::{Config, ServerAddress},
    identity::Identity,
};

pub(crate) const ID: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";
pub(crate) const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";

/// Returns the configuration of a VM for `istiod`, with a token file in `dir`.
pub(crate) fn config(istiod: &Istiod, dir: &TempDir) -> Config {
    let token = dir.path().join("istio-token");
    fs::write(&token, "a.b.c").unwrap();
    Config {
        discovery: vec![ServerAddress::new("istiod.istio-system.svc", 15012)],
        ca: vec![ServerAddress::new("istiod.istio-system.svc", 15012)],
        roots: vec![istiod.authority().root()],
        token_file: Some(token),
        namespace: "vms".into(),
        service_account: "edge-app".into(),
        cluster_id: "cluster1".into(),
        dns_domain: "vms.svc.cluster.local".into(),
        name: "vm-1".into(),
        addresses: vec![[10, 0, 0, 1].into()],
        certificate_ttl: Duration::from_secs(24 * 3600),
        ..Config::for_tests()
    }
}

/// Returns a directory, an istiod under tokio's clock, and the configuration of a VM.
pub(crate) fn mesh() -> (TempDir, Istiod, Config) {
    let dir = tempfile::tempdir().unwrap();
    let istiod = Istiod::new(Clock::from_tokio());
    let config = config(&istiod, &dir);
    (dir, istiod, config)
}

/// Returns the same and the path of a state directory.
pub(crate) fn mesh_with_state_dir() -> (TempDir, Istiod, Config, PathBuf) {
    let (dir, istiod, config) = mesh();
    let state = dir.path().join("state");
    (dir, istiod, config.with(|config| config.state_dir = Some(state.clone())), state)
}

/// Returns the current identity of a client.
pub(crate) fn identity(client: &NdsClient) -> Arc<Identity> {
    client.identity().current().unwrap()
}

/// Joins and waits until the identity has been written.
pub(crate) async fn join(istiod: &Istiod, config: &Config, state: &Path) -> NdsClient {
    let client = istiod.join(config.clone()).await.unwrap();
    client.persisted(|| state.join("identity.pem").is_file()).await;
    client
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
