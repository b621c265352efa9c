//! The certificate authority of the mesh, which issues the certificate of istiod, workload certificates and tokens.

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

/// Returns the crypto provider that the sandbox uses. It is passed as a value, so no process-wide provider is
/// installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
