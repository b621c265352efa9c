//! stub: replaced soon
use std::time::Duration;
/// Configuration
#[derive(Clone, Debug)]
pub struct Config { _p: () }
#[allow(missing_docs, clippy::todo, clippy::missing_errors_doc, reason = "replaced soon")]
impl Config {
    pub fn from_vm_files(dir: impl AsRef<std::path::Path>) -> Result<Self, crate::Error> { let _ = dir.as_ref(); todo!() }
    #[must_use] pub fn with_istiod_name(self, name: impl Into<String>) -> Self { let _: String = name.into(); todo!() }
    #[must_use] pub fn with_join_timeout(self, timeout: Duration) -> Self { let _ = timeout; todo!() }
    #[must_use] pub fn with_crypto_provider(self, provider: std::sync::Arc<rustls::crypto::CryptoProvider>) -> Self { let _ = provider; todo!() }
    /// The workload's namespace: `vms`.
    #[must_use] pub fn namespace(&self) -> &str { todo!() }
    /// The proxy's DNS domain: `vms.svc.cluster.local`.
    #[must_use] pub fn dns_domain(&self) -> &str { todo!() }
    #[must_use] pub fn network(&self) -> &str { todo!() }
    #[must_use] pub fn cluster_id(&self) -> &str { todo!() }
    #[must_use] pub fn join_timeout(&self) -> Duration { todo!() }
}
