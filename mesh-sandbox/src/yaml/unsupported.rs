//! Parts of supported kinds that would change what istiod says, and that the sandbox does not imitate. Everything else
//! that Kubernetes knows and istiod does not read is accepted.

use super::{Manifest, Object};
use crate::error::Result;

/// Annotations and labels, by kind.
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

/// Refuses an object that the sandbox would read differently than istiod.
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
    let Object::Service(service) = &manifest.object else { return Ok(()) };
    if service.spec.traffic_distribution.is_some() {
        return refuse("spec.trafficDistribution");
    }
    match service.spec.internal_traffic_policy.as_deref() {
        Some("Local") => refuse("spec.internalTrafficPolicy: Local"),
        _ => Ok(()),
    }
}
