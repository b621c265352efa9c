//! The certificates of all workloads, created on first use and renewed after half of their lifetime.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use crate::error::{Error, Result};
use crate::pki::server_certificate::OneCertificate;
use crate::pki::verifier::{Demand, MeshClientVerifier};
use crate::pki::{self, Authority, Lifetime, Subject};

/// The certificate lifetime that Istio's agent requests (istio `security/pkg/cmd/constants.go`).
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The identity that a workload presents in TLS handshakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Presented {
    pub(crate) identity: String,
    pub(crate) validity: Validity,
}

/// Whether the certificate that a workload presents is valid or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Validity {
    Current,
    Expired,
}

/// The agents of all workloads. They hold the certificates of the workloads.
#[derive(Debug)]
pub(crate) struct Identities {
    authority: Arc<Authority>,
    verifier: Arc<MeshClientVerifier>,
    configs: Mutex<HashMap<Presented, (Arc<ServerConfig>, Instant)>>,
}

impl Identities {
    pub(crate) fn new(authority: Arc<Authority>) -> Result<Self> {
        let verifier =
            MeshClientVerifier::new(authority.roots()?, authority.trust_domains(), Demand::Required)?;
        Ok(Self { authority, verifier, configs: Mutex::default() })
    }

    /// Returns the TLS configuration of a sidecar that presents the certificate described by `presented`. The sidecar
    /// selects the ALPN protocol `alpn`; if `alpn` is `None`, it selects no protocol.
    pub(crate) fn config(&self, presented: &Presented, alpn: Option<&str>) -> Result<Arc<ServerConfig>> {
        let base = self.base(presented)?;
        let Some(alpn) = alpn else { return Ok(base) };
        let mut config = (*base).clone();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }

    fn base(&self, presented: &Presented) -> Result<Arc<ServerConfig>> {
        let mut configs = self.configs.lock();
        if let Some((config, made)) = configs.get(presented)
            && made.elapsed() < LIFETIME / 2
        {
            return Ok(config.clone());
        }
        let subject = Subject::Spiffe(presented.identity.clone());
        let lifetime = match presented.validity {
            Validity::Current => Lifetime::For(LIFETIME),
            Validity::Expired => Lifetime::Expired,
        };
        let key = self.authority.certified_key(&subject, lifetime)?;
        let config = ServerConfig::builder_with_provider(pki::provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| Error::certificate("a workload's TLS settings", error))?
            .with_client_cert_verifier(self.verifier.clone())
            .with_cert_resolver(Arc::new(OneCertificate(Arc::new(key))));
        let config = Arc::new(config);
        configs.insert(presented.clone(), (config.clone(), Instant::now()));
        Ok(config)
    }
}
