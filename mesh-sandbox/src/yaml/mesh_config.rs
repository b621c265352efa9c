//! `mesh.yaml`: the fields of istiod's MeshConfig that affect the resources of the sandbox. Fields that affect only
//! listeners are accepted and ignored; all other fields are rejected.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::destination_rule::{Keepalive, LocalitySetting, duration};
use crate::error::{Error, ErrorKind, Result};

/// Istio's default trust domain.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// The configuration of the mesh.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MeshConfig {
    /// The trust domain; empty if not configured.
    #[serde(default)]
    pub(crate) trust_domain: String,
    /// Former trust domains, whose identities are accepted as well.
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
    /// Returns the configuration with the trust domain `given`. If `given` is `None`, uses the trust domain in the
    /// file. If the file contains no trust domain, uses Istio's default.
    pub(crate) fn settled(&self, given: Option<String>) -> Self {
        let own = Some(self.trust_domain.clone()).filter(|own| !own.is_empty());
        let trust_domain = given.or(own).unwrap_or_else(|| DEFAULT_TRUST_DOMAIN.to_owned());
        Self { trust_domain, ..self.clone() }
    }

    /// Returns the trust domain, followed by its aliases.
    pub(crate) fn trust_domains(&self) -> Vec<String> {
        [&self.trust_domain].into_iter().chain(&self.trust_domain_aliases).cloned().collect()
    }

    /// Returns the configuration to use after `mesh.yaml` has changed. `self` is the new file, `before` the previous
    /// file, and `running` the configuration in use. A trust domain that the new file does not change is taken from
    /// `running`, everything else from the new file.
    ///
    /// # Errors
    ///
    /// The new file changes the trust domains, which are part of issued certificates.
    pub(crate) fn following(&self, before: &Self, running: &Self) -> Result<Self> {
        let mut next = self.clone();
        // The builder may have set a trust domain that differs from the one in the file.
        if next.trust_domain.is_empty() || next.trust_domain == before.trust_domain {
            next.trust_domain.clone_from(&running.trust_domain);
        }
        if next.trust_domains() == running.trust_domains() {
            Ok(next)
        } else {
            Err(Error::new(
                ErrorKind::TrustDomainChanged,
                "mesh.yaml changes the trust domain or its aliases, which are part of issued certificates; restart the \
                 sandbox",
            ))
        }
    }

    /// Returns each of `identities` once for every trust domain of the mesh, sorted (istio
    /// `spiffe.ExpandWithTrustDomains`).
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
    fn an_identity_is_expanded_to_every_alias() {
        let config = MeshConfig { trust_domain_aliases: vec!["old".into()], ..MeshConfig::default() };
        let all = config.in_all_trust_domains(&["spiffe://new/ns/a/sa/b".into(), "host.example".into()]);
        assert_eq!(all, ["host.example", "spiffe://new/ns/a/sa/b", "spiffe://old/ns/a/sa/b"]);
    }
}
