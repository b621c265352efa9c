//! Rotation of the mesh roots.

use xds_proto::{any, istio::mesh::v1alpha1::ProxyConfig, type_url};

use super::*;

fn push(istiod: &Istiod, roots: &[&str]) {
    let config = ProxyConfig { ca_certificates_pem: roots.iter().map(|root| (*root).to_owned()).collect() };
    istiod.set_resource(type_url::PROXY_CONFIG, "", any::pack(type_url::PROXY_CONFIG, &config));
}

#[tokio::test(start_paused = true)]
async fn a_pushed_root_is_trusted_immediately_in_addition_to_the_others() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    let mut identities = client.identity().clone();
    let before = identities.current().unwrap();
    assert_eq!((before.epoch(), before.roots().len()), (1, 1));
    let second = Authority::new("second", istiod.clock());
    push(&istiod, &[istiod.authority().root_pem(), second.root_pem()]);
    let both = identities.wait_for(|one| one.as_ref().is_some_and(|one| one.epoch() == 2)).await.unwrap();
    let both = (*both).clone().unwrap();
    assert_eq!(both.roots().len(), 2);
    assert_eq!(both.not_after(), before.not_after(), "the certificate is the same");
    assert_eq!(before.roots().len(), 1, "the previous value does not change");

    // The old root is removed from the pushed roots. Those of the configuration and of the last issuance stay trusted.
    push(&istiod, &[second.root_pem()]);
    istiod
        .requested(|request| request.type_url == type_url::PROXY_CONFIG && request.response_nonce == "3")
        .await;
    assert_eq!(client.identity().current().unwrap().roots().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn unusable_roots_are_rejected() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config).await.unwrap();
    push(&istiod, &["-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"]);
    let mut health = client.health().clone();
    let rejected = health.wait_for(|health| health.rejected.is_some()).await.unwrap();
    assert!(rejected.rejected.as_ref().unwrap().to_string().contains("roots"));
    assert_eq!(client.identity().current().unwrap().epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn issued_roots_replace_the_previously_issued_ones_and_are_persisted() {
    let (dir, istiod, config) = mesh();
    let config = config.with(|config| config.state_dir = Some(dir.path().join("state")));
    let second = Authority::new("second", istiod.clock());
    istiod.set_bundle(format!("{}{}", istiod.authority().root_pem(), second.root_pem()));
    let client = istiod.join(config.clone()).await.unwrap();
    let roots = |client: &NdsClient| client.identity().current().unwrap().roots().len();
    assert_eq!(roots(&client), 2);
    client.persisted(|| dir.path().join("state/identity.pem").is_file()).await;
    drop(client);
    let client = istiod.spawn(config);
    assert_eq!(roots(&client), 2);
    istiod.set_bundle(istiod.authority().root_pem());
    let mut identities = client.identity().clone();
    identities.wait_for(|one| one.as_ref().is_some_and(|one| one.roots().len() == 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replaced_root_file_is_read_again() {
    let (dir, istiod, mut config) = mesh();
    let file = dir.path().join("root-cert.pem");
    let second = Authority::new("second", istiod.clock());
    std::fs::write(&file, second.root_pem()).unwrap();
    config.roots = vec![second.root()];
    config.roots_file = Some(file.clone());
    let client = istiod.spawn(config);
    let mut health = client.health().clone();
    let reported = health.wait_for(|health| health.identity.is_some()).await.unwrap();
    assert_eq!(reported.identity.as_ref().unwrap().kind(), ErrorKind::UntrustedServer);
    std::fs::write(&file, istiod.authority().root_pem()).unwrap();
    health.wait_for(Health::is_ok).await.unwrap();
}
