//! The mesh's certificate authority, and what it makes: istiod's certificate, workload certificates, tokens.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub(crate) mod authority;
pub(crate) mod csr;
pub(crate) mod server_certificate;
pub(crate) mod spiffe;
pub(crate) mod token;
pub(crate) mod verifier;

pub(crate) use authority::{Authority, Lifetime, Subject};
pub(crate) use token::TokenIssuer;
pub use token::TokenOptions;

/// The crypto provider of everything here, passed as a value: nothing process-wide is installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
