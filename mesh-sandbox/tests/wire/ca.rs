//! Certificates: their identity, their lifetime, and the credentials that a request needs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_sandbox::{Event, TokenOptions};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::{Client, csr, node};
use crate::mesh::{Folder, tour};
use crate::tls::uris;

#[tokio::test]
async fn a_certificate_is_for_the_account_of_the_token_and_not_for_the_names_in_the_csr() {
    let sandbox = tour().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI("spiffe://cluster.local/ns/vms/sa/root".try_into().unwrap())];
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    let response = Client::vm(&sandbox).sign(&request, 3600).await.unwrap();
    let leaf = CertificateDer::from_pem_slice(response.cert_chain[0].as_bytes()).unwrap();
    assert_eq!(uris(&leaf), ["spiffe://cluster.local/ns/vms/sa/edge-app"]);
    assert_eq!(response.cert_chain.len(), 2);
    assert_eq!(response.cert_chain[1], sandbox.root_certificate_pem());
}

#[tokio::test]
async fn a_certificate_is_valid_from_two_minutes_ago_and_for_servers_and_clients() {
    let sandbox = tour().await;
    let response = Client::vm(&sandbox).sign(&csr(&KeyPair::generate().unwrap()), 3600).await.unwrap();
    let leaf = CertificateDer::from_pem_slice(response.cert_chain[0].as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let begins = leaf.validity().not_before.timestamp();
    let ends = leaf.validity().not_after.timestamp();
    assert!((now - begins - 120).abs() < 20, "begins {begins}, now {now}");
    assert!((ends - now - 3600).abs() < 20, "ends {ends}, now {now}");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(leaf.subject().iter().next().is_none(), "the subject is empty");
    assert!(leaf.subject_alternative_name().unwrap().unwrap().critical);
}

#[tokio::test]
async fn an_rsa_key_is_accepted() {
    let sandbox = tour().await;
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    Client::vm(&sandbox).sign(&csr(&key), 0).await.unwrap();
}

#[tokio::test]
async fn a_request_without_a_lifetime_gets_the_default_and_too_long_a_lifetime_is_an_error() {
    let folder = Folder::tour();
    let sandbox = folder
        .builder()
        .with_certificate_lifetimes(Duration::from_secs(600), Duration::from_secs(1200))
        .start()
        .await
        .unwrap();
    let request = csr(&KeyPair::generate().unwrap());
    let client = Client::vm(&sandbox);
    let refused = client.sign(&request, 1201).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("greater than the max allowed TTL"), "{refused}");
    client.sign(&request, 0).await.unwrap();
    let lifetime = sandbox
        .events()
        .wait(|event| match event {
            Event::CertificateIssued { lifetime, .. } => Some(*lifetime),
            _ => None,
        })
        .await;
    assert_eq!(lifetime, Duration::from_secs(600));
}

#[tokio::test]
async fn a_request_that_is_not_a_csr_is_rejected() {
    let sandbox = tour().await;
    let refused = Client::vm(&sandbox).sign("not a request", 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("CSR signing error ("), "{refused}");
}

#[tokio::test]
async fn a_csr_with_an_invalid_signature_is_rejected() {
    let sandbox = tour().await;
    let good = csr(&KeyPair::generate().unwrap());
    let mut der =
        rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let bad = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    let refused = Client::vm(&sandbox).sign(&bad, 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn every_invalid_token_gets_the_same_error() {
    let sandbox = tour().await;
    let expired = TokenOptions::default().with_lifetime(Duration::ZERO);
    let foreign = TokenOptions::default().with_audience("vault");
    let good = sandbox.token("vms", "edge-app", &TokenOptions::default());
    let mut elsewhere = Client::with_token(&sandbox, &good);
    elsewhere.cluster_header = vec!["cluster9".to_owned()];
    let mut other_cluster = Client::with_token(&sandbox, &good);
    other_cluster.cluster_header = vec!["cluster2".to_owned()];
    let clients = [
        Client::anonymous(&sandbox),
        Client::with_token(&sandbox, "a.b.c"),
        Client::with_token(&sandbox, &sandbox.token("vms", "edge-app", &expired)),
        Client::with_token(&sandbox, &sandbox.token("vms", "edge-app", &foreign)),
        elsewhere,
        other_cluster,
    ];
    for client in clients {
        let refused = client.sign(&csr(&KeyPair::generate().unwrap()), 0).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(refused.message(), "request authenticate failure");
        let refused = client.ads().await.unwrap().end().await;
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(refused.message(), "authentication failure");
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_token() {
    let sandbox = tour().await;
    let identity = Client::vm(&sandbox).certificate().await;
    let renewed = Client::with_identity(&sandbox, identity).certificate().await;
    assert_eq!(uris(&renewed.chain[0]), ["spiffe://cluster.local/ns/vms/sa/edge-app"]);
    let proofs: Vec<_> = sandbox
        .events()
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::CertificateIssued { proof, .. } => Some(proof),
            _ => None,
        })
        .collect();
    assert_eq!(proofs, ["token", "certificate"]);
    Client::with_identity(&sandbox, renewed).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn a_certificate_of_another_mesh_fails_the_handshake_even_with_a_valid_token() {
    let sandbox = tour().await;
    let other = tour().await;
    let mut client = Client::vm(&sandbox);
    client.identity = Some(Client::vm(&other).certificate().await);
    let refused = client.sign(&csr(&KeyPair::generate().unwrap()), 0).await.unwrap_err();
    assert_ne!(refused.code(), Code::Unauthenticated, "{refused}");
}
