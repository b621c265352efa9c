//! The error of a VM that cannot join names the wrong file, key or address, and the next step.

use std::{fs, time::Duration};

use mesh_connector::{Config, nds_client};
use mesh_sandbox::{Sandbox, TokenOptions, VmFiles};
use nds_client::{Error, ErrorKind, NdsClient};

async fn vm() -> (Sandbox, VmFiles) {
    let sandbox = super::sandbox().await;
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    (sandbox, vm)
}

async fn join(vm: &VmFiles) -> Result<NdsClient, Error> {
    NdsClient::join(Config::from_vm_files(vm.path())?).await
}

#[tokio::test]
async fn the_error_distinguishes_a_wrong_audience_from_an_expired_token() {
    let (sandbox, vm) = vm().await;
    let file = vm.path().join("istio-token");
    let refused = async |options: TokenOptions| {
        fs::write(&file, sandbox.token("vms", "edge-app", &options)).unwrap();
        let error = join(&vm).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        error.to_string()
    };
    assert!(refused(TokenOptions::default().with_audience("somebody-else")).await.contains("audience"));
    assert!(refused(TokenOptions::default().with_lifetime(Duration::ZERO)).await.contains("expired"));
}

#[tokio::test]
async fn the_error_names_a_token_file_that_was_removed() {
    let (_sandbox, vm) = vm().await;
    let config = Config::from_vm_files(vm.path()).unwrap();
    fs::remove_file(vm.path().join("istio-token")).unwrap();
    let error = NdsClient::join(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(error.to_string().contains("istio-token"), "{error}");
}

#[tokio::test]
async fn the_error_of_a_wrong_root_names_the_root_file() {
    let ((_sandbox, vm), other) = tokio::join!(vm(), super::sandbox());
    fs::write(vm.path().join("root-cert.pem"), other.root_certificate_pem()).unwrap();
    let error = join(&vm).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedServer);
    assert!(error.to_string().contains("root-cert.pem"), "{error}");
}

#[tokio::test]
async fn the_error_of_an_unreachable_istiod_contains_its_address() {
    let (sandbox, vm) = vm().await;
    let address = sandbox.istiod_address().to_string();
    sandbox.stop_istiod().await;
    let config = Config::builder()
        .with_vm_files(vm.path())
        .with_join_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let error = NdsClient::join(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn the_error_of_a_name_missing_in_the_certificate_of_istiod_contains_the_next_step() {
    let (_sandbox, vm) = vm().await;
    let config =
        Config::builder().with_vm_files(vm.path()).with_istiod_name("istiod.elsewhere.svc").build().unwrap();
    let error = NdsClient::join(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedServer);
    assert!(error.to_string().contains("istiod.elsewhere.svc"), "{error}");
}

#[tokio::test]
async fn a_client_runs_until_its_last_clone_is_dropped() {
    let (sandbox, vm) = vm().await;
    let client = join(&vm).await.unwrap();
    drop(client.clone());
    let mut health = client.health().clone();
    assert_eq!(sandbox.connections().len(), 1);
    drop(client);
    while health.changed().await {}
    let gone = |event: &mesh_sandbox::Event| {
        matches!(event, mesh_sandbox::Event::AdsDisconnected { .. }).then_some(())
    };
    sandbox.events().wait(gone).await;
    assert!(sandbox.connections().is_empty());
}
