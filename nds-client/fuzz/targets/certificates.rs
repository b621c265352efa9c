//! Certificates and private keys in PEM, from files or from the CA.
#![no_main]

use std::sync::Arc;

use nds_client::Identity;

libfuzzer_sys::fuzz_target!(|pem: &[u8]| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let _ = Identity::from_pem(pem, pem, pem, provider);
});
