//! Rejects the parts of supported kinds that would change the resources that istiod sends, but that the sandbox does
//! not support. Fields that istiod does not read are accepted.

use super::destination_rule::{DestinationRuleSpec, TrafficPolicy};
use super::object::{Manifest, Object};
use crate::error::Result;

/// Unsupported annotations and labels, by kind.
const MARKS: [(&str, &str); 8] = [
    ("Namespace", "networking.istio.io/traffic-distribution"),
    ("Service", "istio.io/persistent-session"),
    ("Service", "istio.io/persistent-session-header"),
    ("Service", "networking.istio.io/traffic-distribution"),
    ("Service", "traffic.istio.io/nodeSelector"),
    ("ServiceEntry", "networking.istio.io/traffic-distribution"),
    ("WorkloadEntry", "proxy.istio.io/health-checks-enabled"),
    ("Namespace", "topology.istio.io/controlPlaneClusters"),
];

/// Rejects an object with an annotation, label or field that istiod interprets and the sandbox does not support.
pub(super) fn check(manifest: &Manifest) -> Result<()> {
    let refuse =
        |what: &str| Err(manifest.invalid(format!("{what} is not supported by the sandbox; remove it")));
    for (kind, name) in MARKS {
        let is_there =
            manifest.labels().contains_key(name) || manifest.metadata.annotations.contains_key(name);
        if manifest.key.kind == kind && is_there {
            return refuse(name);
        }
    }
    let service = match &manifest.object {
        Object::Service(service) => service,
        Object::DestinationRule(rule) if rule.spec.workload_selector.is_some() && has_secret(&rule.spec) => {
            return refuse("credentialName together with workloadSelector");
        }
        _ => return Ok(()),
    };
    if service.spec.traffic_distribution.is_some() {
        return refuse("spec.trafficDistribution");
    }
    match service.spec.internal_traffic_policy.as_deref() {
        Some("Local") => refuse("spec.internalTrafficPolicy: Local"),
        _ => Ok(()),
    }
}

/// Returns whether a DestinationRule names a secret (`credentialName`).
fn has_secret(spec: &DestinationRuleSpec) -> bool {
    let named = |policy: &TrafficPolicy| {
        let of_ports = policy.port_level_settings.iter().filter_map(|it| it.tls.as_ref());
        policy.tls.iter().chain(of_ports).any(|tls| !tls.credential_name.is_empty())
    };
    let of_subsets = spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
    spec.traffic_policy.iter().chain(of_subsets).any(named)
}
