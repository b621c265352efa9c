//! The validation of Istio's webhook (istio `pkg/config/validation`). An object that the webhook rejects cannot exist
//! in a real cluster.

mod destination_rule;
mod service_entry;
mod sidecar;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::istio::{Gateway, PeerAuthentication, Workload};
use super::kubernetes::Labels;
use super::object::{Manifest, Object};
use crate::error::Result;

/// Rejects an object that Istio's validation rejects.
pub(super) fn check(manifest: &Manifest) -> Result<()> {
    let namespace = &manifest.key.namespace;
    let problem = match &manifest.object {
        Object::DestinationRule(rule) => destination_rule::problem(&rule.spec, namespace),
        Object::Gateway(gateway) => of_gateway(gateway),
        Object::PeerAuthentication(policy) => of_policy(policy),
        Object::ServiceEntry(entry) => service_entry::problem(&entry.spec, namespace),
        Object::Sidecar(sidecar) => sidecar::problem(&sidecar.spec),
        Object::WorkloadEntry(entry) => of_workload_entry(&entry.spec),
        _ => None,
    };
    problem.map_or(Ok(()), |problem| Err(manifest.invalid(problem)))
}

fn of_gateway(gateway: &Gateway) -> Option<String> {
    if gateway.spec.servers.is_empty() {
        return Some("spec.servers is empty".to_owned());
    }
    let mut names = BTreeSet::new();
    gateway.spec.servers.iter().find_map(|server| {
        let port = &server.port;
        if server.hosts.is_empty() {
            return Some(format!("the server on port {} has no hosts", port.number));
        }
        number(port.number).or_else(|| {
            let is_new = port.name.is_empty() || names.insert(&port.name);
            (!is_new).then(|| format!("port name {} is used twice", port.name))
        })
    })
}

fn of_policy(policy: &PeerAuthentication) -> Option<String> {
    let spec = &policy.spec;
    let is_selecting = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    let ports = spec.port_level_mtls.as_ref()?;
    if ports.is_empty() {
        return Some("portLevelMtls is empty".to_owned());
    }
    if !is_selecting {
        return Some("portLevelMtls requires a selector".to_owned());
    }
    ports.keys().find_map(|port| number(*port))
}

fn of_workload_entry(entry: &Workload) -> Option<String> {
    let address = &entry.address;
    if address.is_empty() && entry.network.is_empty() {
        return Some("the entry has neither address nor network; set one of them".to_owned());
    }
    let is_address =
        address.is_empty() || address.starts_with("unix://") || is_ip(address) || is_host(address);
    if !is_address {
        return Some(format!("address {address} is neither an IP address nor a host name"));
    }
    workload(entry)
}

/// Returns the first problem of the ports and labels of a workload, or `None` if they are valid.
fn workload(workload: &Workload) -> Option<String> {
    workload.ports.values().find_map(|port| number(*port)).or_else(|| of_labels(&workload.labels))
}

fn of_labels(labels: &Labels) -> Option<String> {
    let is_name = |text: &str| {
        let inner = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        let ends = text.starts_with(|it: char| it.is_ascii_alphanumeric())
            && text.ends_with(|it: char| it.is_ascii_alphanumeric());
        text.len() <= 63 && text.chars().all(inner) && (text.is_empty() || ends)
    };
    labels.iter().find_map(|(key, value)| {
        let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        let is_label = !name.is_empty() && is_name(name) && is_name(value);
        (!is_label).then(|| format!("the label {key}: {value} is invalid"))
    })
}

fn number(port: u16) -> Option<String> {
    (port == 0).then(|| "port 0 is invalid; use 1 to 65535".to_owned())
}

/// Returns a problem if `exportTo` contains duplicates, or another value next to `*`.
fn export_to(export_to: &[String], namespace: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    for target in export_to {
        let target = if target == "." { namespace } else { target };
        if !seen.insert(target) {
            return Some(format!("exportTo names {target} twice"));
        }
    }
    (seen.contains("*") && seen.len() > 1)
        .then(|| "exportTo contains `*` and other values; remove `*` or the others".to_owned())
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Returns whether `text` is an IP address or an address range.
fn is_cidr(text: &str) -> bool {
    match text.split_once('/') {
        None => is_ip(text),
        Some((address, bits)) => {
            let most = if address.contains(':') { 128 } else { 32 };
            is_ip(address) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
        }
    }
}

/// Returns whether `text` is a host name without a wildcard.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Returns whether `text` is a host name whose first labels may be a wildcard.
fn is_pattern(text: &str) -> bool {
    text == "*" || is_host(text.strip_prefix("*.").unwrap_or(text))
}
