//! Identities that outlast processes, tokens and outages of the CA.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::UnixTime;
use tokio::time::{Instant, sleep};
use xds_proto::google::protobuf::value::Kind;

use super::*;
use crate::{
    clock::Clock,
    config::{CertificateFiles, KeyType},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn epoch(client: &NdsClient, epoch: u64) {
    let mut identities = client.identity().clone();
    identities.wait_for(|one| one.as_ref().is_some_and(|one| one.epoch() >= epoch)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_vm_joins_although_its_token_has_expired() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    let before = identity(&join(&istiod, &config, &state).await).not_after();
    istiod.accept_tokens(false);
    fs::remove_file(config.token_file().unwrap()).unwrap();
    let client = istiod.join(config).await.unwrap();
    assert_eq!(identity(&client).not_after(), before, "the same certificate");
    assert_eq!(istiod.issued(), 1);
    sleep(DAY).await;
    assert!(istiod.issued() >= 2, "the restored certificate is renewed");
    assert!(client.health().get().is_ok(), "{:?}", client.health().get());
}

#[tokio::test(start_paused = true)]
async fn a_restored_certificate_is_renewed_at_half_of_its_lifetime() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    sleep(DAY * 2 / 5).await;
    let client = istiod.join(config).await.unwrap();
    let start = Instant::now();
    epoch(&client, 2).await;
    assert_eq!(istiod.issued(), 2);
    assert!((DAY / 12..DAY / 8).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_in_the_state_directory_is_ignored_and_reported() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    sleep(DAY * 2).await;
    istiod.sign(false);
    let client = istiod.spawn(config);
    let mut health = client.health().clone();
    let seen = health.wait_for(|health| health.identity.is_some()).await.unwrap();
    let reason = seen.storage.as_ref().unwrap().report();
    assert!(reason.contains("identity.pem") && reason.contains("expired"), "{reason}");
    assert!(client.identity().get().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_workload_or_trust_domain_is_ignored() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    istiod.sign(false);
    let changes: [fn(&mut Config); 3] = [
        |config| config.namespace = "other".into(),
        |config| config.service_account = "other".into(),
        |config| config.trust_domain = Some("other".into()),
    ];
    for change in changes {
        let mut config = config.clone();
        change(&mut config);
        let client = istiod.spawn(config);
        assert!(client.identity().get().is_none());
        assert_eq!(client.health().get().storage.as_ref().unwrap().kind(), ErrorKind::Storage);
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_rejected_by_istiod_is_replaced_with_the_token() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    drop(join(&istiod, &config, &state).await);
    istiod.accept_certificates(false);
    let client = istiod.spawn(config);
    let mut health = client.health().clone();
    health.wait_for(|health| health.sync == SyncState::Synced).await.unwrap();
    epoch(&client, 2).await;
    assert!(istiod.issued() >= 2, "and replaced");
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_are_reported_before_and_after_the_expiry() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config.with(|config| config.certificate_ttl = DAY / 12)).await.unwrap();
    istiod.sign(false);
    let mut health = client.health().clone();
    let warned = health.wait_for(|health| health.identity.is_some()).await.unwrap();
    let error = warned.identity.as_ref().unwrap();
    assert!(error.to_string().contains("expires in 6"), "{error}");
    assert!(!identity(&client).remaining(istiod.clock().now()).is_zero());
    let ended = health.wait_for(|health| {
        health.identity.as_ref().is_some_and(|error| error.kind() == ErrorKind::Unauthenticated)
    });
    let error = ended.await.unwrap().identity.clone().unwrap();
    assert!(error.to_string().contains(ID) && error.to_string().contains("expired"), "{error}");
    assert!(
        client.names().get().get("forecast.weather.svc.cluster.local").is_some(),
        "names are still available"
    );
    istiod.sign(true);
    health.wait_for(|health| health.identity.is_none()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let istiod = Istiod::new(Clock::from_tokio());
    let hour = Duration::from_secs(3600);
    let off = |by: fn(SystemTime, Duration) -> SystemTime, ttl: Duration| {
        let clock = istiod.clock();
        let clock = Clock::new(move || by(clock.now(), Duration::from_secs(3600)));
        istiod
            .client(testing::config(&istiod, &dir).with(|config| config.certificate_ttl = ttl))
            .with_clock(clock)
            .join()
    };
    // The clock is so slow that the certificate of istiod is not valid yet.
    let error = off(|now, by| now - by, DAY).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Clock, "{}", error.report());
    assert!(error.to_string().contains("clock is slow"), "{error}");
    // The clock of this host is fast: the certificate of istiod is valid for years, but a new certificate of half an
    // hour has expired.
    let error = off(|now, by| now + by, hour / 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Clock, "{}", error.report());
    // The error is smaller than the lifetime: the certificate works, and the health reports the clock.
    let client = off(|now, by| now + by, DAY).await.unwrap();
    let clock = client.health().get().clock.clone().unwrap();
    assert!(clock.to_string().contains("clock of this host is fast"), "{clock}");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_lifetime_is_replaced_with_the_default() {
    let (_dir, istiod, config) = mesh();
    let client = istiod.join(config.with(|config| config.certificate_ttl = DAY * 1000)).await.unwrap();
    assert!(identity(&client).remaining(istiod.clock().now()) <= DAY);
}

#[tokio::test(start_paused = true)]
async fn an_istiod_that_starts_after_the_client_is_joined() {
    let (_dir, istiod, config) = mesh();
    istiod.set_connectivity(Connectivity::Closed);
    let client = istiod.spawn(config);
    client.health().clone().wait_for(|health| health.identity.is_some()).await.unwrap();
    istiod.set_connectivity(Connectivity::Open);
    client.health().clone().wait_for(Health::is_ok).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_client_waits_for_a_token_that_is_being_replaced() {
    let (dir, istiod, config) = mesh();
    let token = dir.path().join("istio-token");
    let replacements: [[fn(&Path); 2]; 2] = [
        [|token| fs::write(token, "").unwrap(), |token| fs::write(token, "d.e.f").unwrap()],
        // Writes like the kubelet: a link to a directory for each version.
        [
            |token| fs::remove_file(token).unwrap(),
            |token| {
                fs::write(token.with_extension("2"), "g.h.i").unwrap();
                symlink(token.with_extension("2"), token).unwrap();
            },
        ],
    ];
    for [begin, end] in replacements {
        begin(&token);
        let replaced = async {
            sleep(Duration::from_millis(500)).await;
            end(&token);
        };
        let (joined, ()) = tokio::join!(istiod.join(config.clone()), replaced);
        joined.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_istios_agent_authenticates_the_first_request() {
    let (dir, istiod, config) = mesh();
    let pair = istiod.authority().workload(ID, DAY);
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let (chain, key) = (file("cert-chain.pem", &pair.chain), file("key.pem", &pair.key));
    let bootstrap = Some(CertificateFiles { chain, key, roots: None });
    let client = istiod.join(Config { token_file: None, bootstrap, ..config }).await.unwrap();
    assert_eq!(istiod.issued(), 1);
    assert!(client.health().get().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_configured_signer_is_sent_to_the_ca() {
    let (_dir, istiod, config) = mesh();
    drop(istiod.join(config.clone()).await.unwrap());
    assert_eq!(istiod.last_request().unwrap().metadata, None, "istiod itself");
    drop(istiod.join(Config { cert_signer: Some("issuers/mesh".into()), ..config }).await.unwrap());
    let metadata = istiod.last_request().unwrap().metadata.unwrap();
    let signer = metadata.fields["CertSigner"].kind.clone();
    assert_eq!(signer, Some(Kind::StringValue("issuers/mesh".into())));
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test(start_paused = true)]
async fn keys_of_all_types_are_certified_and_persisted() {
    let (_dir, istiod, config, state) = mesh_with_state_dir();
    for key_type in [KeyType::Rsa2048, KeyType::P384] {
        let _ = fs::remove_file(state.join("identity.pem"));
        drop(join(&istiod, &config.clone().with(|config| config.key_type = key_type), &state).await);
        assert!(istiod.spawn(config.clone()).identity().get().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_valid_certificate_exists_throughout_a_thousand_renewals() {
    const RENEWALS: u64 = 1_000;
    let (_dir, istiod, config) = mesh();
    let client =
        istiod.join(config.with(|config| config.certificate_ttl = Duration::from_secs(4))).await.unwrap();
    fs::remove_file(client.config().token_file().unwrap()).unwrap();
    let roots = Arc::new(istiod.authority().root_store());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, testing::provider()).build().unwrap();
    let mut uses = 0;
    while istiod.issued() < RENEWALS {
        sleep(Duration::from_millis(250)).await;
        let identity = identity(&client);
        let now = istiod.clock().now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let [leaf, chain @ ..] = &identity.certified_key().cert[..] else { panic!("no certificate") };
        verifier.verify_client_cert(leaf, chain, UnixTime::since_unix_epoch(now)).unwrap();
        uses += 1;
    }
    assert!(uses > RENEWALS, "{uses}");
    assert!(client.health().get().is_ok());
}
