//! The validation of Sidecars (istio `ValidateSidecar`).

use crate::yaml::istio::{Egress, SidecarSpec};

/// Returns the first problem of a Sidecar, or `None` if the Sidecar is valid.
pub(super) fn problem(spec: &SidecarSpec) -> Option<String> {
    let is_empty =
        spec.egress.is_empty() && spec.workload_selector.is_none() && spec.outbound_traffic_policy.is_null();
    if is_empty {
        return Some("the spec of the Sidecar is empty".to_owned());
    }
    // An egress listener without a port serves all ports that no listener before it serves, so it must be the last.
    let last = spec.egress.len().saturating_sub(1);
    let early = spec.egress.iter().take(last).any(|egress| egress.port.is_none());
    if early {
        return Some("only the last egress listener may have no port".to_owned());
    }
    spec.egress.iter().find_map(of_egress)
}

fn of_egress(egress: &Egress) -> Option<String> {
    if egress.hosts.is_empty() {
        return Some("an egress listener has no hosts".to_owned());
    }
    if !["", "DEFAULT", "IPTABLES", "NONE"].contains(&egress.capture_mode.as_str()) {
        return Some(format!("{} is not a valid captureMode", egress.capture_mode));
    }
    let is_whole = |host: &&String| host.split_once('/').is_none_or(|(namespace, _)| namespace.is_empty());
    let incomplete = egress.hosts.iter().find(is_whole);
    incomplete.map(|host| format!("the egress host {host} has no namespace; write namespace/host"))
}
