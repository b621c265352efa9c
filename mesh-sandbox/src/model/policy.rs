//! PeerAuthentication policies for the mesh, for namespaces, workloads and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{each, selects};
use crate::yaml::istio::{MutualTlsMode, PeerAuthentication};
use crate::yaml::kubernetes::Labels;
use crate::yaml::{Key, Manifest, Object};

/// Istio's root namespace. A policy without a selector in this namespace applies to the mesh.
pub(crate) const ROOT_NAMESPACE: &str = "istio-system";

/// All policies of the config cluster, oldest first. Of several policies at one level (mesh, namespace or workload),
/// the oldest wins.
#[derive(Debug, Default)]
pub(crate) struct Policies(Vec<(String, Arc<PeerAuthentication>)>);

impl Policies {
    pub(crate) fn read(objects: &BTreeMap<Key, Manifest>) -> Self {
        let found = each(objects, |object| match object {
            Object::PeerAuthentication(policy) => Some(policy),
            _ => None,
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(manifest, _)| (&manifest.metadata.creation_timestamp, &manifest.key.name));
        let own = |(manifest, policy): (&Manifest, &Arc<PeerAuthentication>)| {
            (manifest.key.namespace.clone(), policy.clone())
        };
        Self(found.into_iter().map(own).collect())
    }

    /// Returns the mTLS mode of one port of one workload. The mode is PERMISSIVE if no policy sets one (istio
    /// `pilot/pkg/security/authn/policy_applier.go`).
    pub(crate) fn mode(&self, namespace: &str, labels: &Labels, port: u16) -> MutualTlsMode {
        let workload = self.0.iter().find(|(home, policy)| {
            home == namespace
                && policy.spec.selector.as_ref().is_some_and(|it| selects(&it.match_labels, labels))
        });
        let own = workload.and_then(|(_, policy)| {
            let of_port = policy.spec.port_level_mtls.as_ref().and_then(|ports| ports.get(&port)).copied();
            set(of_port).or_else(|| set(policy.spec.mtls))
        });
        own.or_else(|| self.general(namespace))
            .or_else(|| self.general(ROOT_NAMESPACE))
            .unwrap_or(MutualTlsMode::Permissive)
    }

    /// Returns the mTLS mode that policies without a selector set for a namespace. The mode decides whether the xDS
    /// clusters of the services in the namespace contain mTLS.
    pub(crate) fn namespace_mode(&self, namespace: &str) -> MutualTlsMode {
        self.general(namespace).or_else(|| self.general(ROOT_NAMESPACE)).unwrap_or(MutualTlsMode::Permissive)
    }

    /// Returns the namespaces whose PeerAuthentication policies differ from the policies in `other`.
    pub(crate) fn changed(&self, other: &Self) -> BTreeSet<String> {
        let of = |policies: &Self, namespace: &str| -> Vec<_> {
            let own = policies.0.iter().filter(|(home, _)| home == namespace);
            own.map(|(_, policy)| policy.spec.clone()).collect()
        };
        let homes = self.0.iter().chain(&other.0).map(|(home, _)| home);
        homes.filter(|home| of(self, home) != of(other, home)).cloned().collect()
    }

    fn general(&self, namespace: &str) -> Option<MutualTlsMode> {
        let (_, policy) =
            self.0.iter().find(|(home, policy)| home == namespace && policy.spec.selector.is_none())?;
        set(policy.spec.mtls)
    }
}

fn set(mode: Option<crate::yaml::istio::MutualTls>) -> Option<MutualTlsMode> {
    mode.map(|it| it.mode).filter(|mode| *mode != MutualTlsMode::Unset)
}
