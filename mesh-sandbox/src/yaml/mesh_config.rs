//! `mesh.yaml`: istiod's MeshConfig, as far as it shows in what the sandbox sends. What shows in listeners alone is taken and
//! goes nowhere; every other field is refused.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::destination_rule::{Keepalive, LocalitySetting, duration};
use crate::error::{Error, Result};

/// Istio's own.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// What istiod is told about the whole mesh.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MeshConfig {
    /// Empty where nobody says.
    #[serde(default)]
    pub(crate) trust_domain: String,
    /// Former names of it, in which identities are known, too.
    #[serde(default)]
    pub(crate) trust_domain_aliases: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) tcp_keepalive: Option<Keepalive>,
    pub(crate) locality_lb_setting: Option<LocalitySetting>,
    access_log_encoding: Option<IgnoredAny>,
    access_log_file: Option<IgnoredAny>,
    access_log_format: Option<IgnoredAny>,
    default_config: Option<IgnoredAny>,
    default_providers: Option<IgnoredAny>,
    enable_prometheus_merge: Option<IgnoredAny>,
    enable_tracing: Option<IgnoredAny>,
    extension_providers: Option<IgnoredAny>,
    outbound_traffic_policy: Option<IgnoredAny>,
}

impl MeshConfig {
    /// The same with a trust domain: the one that is given, else the file's, else Istio's own.
    pub(crate) fn settled(&self, given: Option<String>) -> Self {
        let own = Some(self.trust_domain.clone()).filter(|own| !own.is_empty());
        let trust_domain = given.or(own).unwrap_or_else(|| DEFAULT_TRUST_DOMAIN.to_owned());
        Self { trust_domain, ..self.clone() }
    }

    /// The trust domain, and its aliases.
    pub(crate) fn trust_domains(&self) -> Vec<String> {
        [&self.trust_domain].into_iter().chain(&self.trust_domain_aliases).cloned().collect()
    }

    /// The configuration that follows on `running`, which was made of the file `before`.
    ///
    /// # Errors
    ///
    /// It changes the trust domains, which stand in certificates.
    pub(crate) fn following(&self, before: &Self, running: &Self) -> Result<Self> {
        let mut next = self.clone();
        // Another one than the file's may have been given.
        if next.trust_domain.is_empty() || next.trust_domain == before.trust_domain {
            next.trust_domain.clone_from(&running.trust_domain);
        }
        if next.trust_domains() == running.trust_domains() {
            Ok(next)
        } else {
            Err(Error::TrustDomainChanged)
        }
    }

    /// `identities`, each in every trust domain that the mesh goes by, in order (istio `spiffe.ExpandWithTrustDomains`).
    pub(crate) fn in_all_trust_domains(&self, identities: &[String]) -> Vec<String> {
        let path = |identity: &str| Some(identity.strip_prefix("spiffe://")?.split_once('/')?.1.to_owned());
        let mut all = identities.to_vec();
        for alias in &self.trust_domain_aliases {
            let renamed = identities.iter().filter_map(|identity| path(identity));
            all.extend(renamed.map(|path| format!("spiffe://{alias}/{path}")));
        }
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::MeshConfig;

    #[test]
    fn an_identity_is_known_in_every_alias() {
        let config = MeshConfig { trust_domain_aliases: vec!["old".into()], ..MeshConfig::default() };
        let all = config.in_all_trust_domains(&["spiffe://new/ns/a/sa/b".into(), "host.example".into()]);
        assert_eq!(all, ["host.example", "spiffe://new/ns/a/sa/b", "spiffe://old/ns/a/sa/b"]);
    }
}
