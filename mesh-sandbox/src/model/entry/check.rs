//! What Istio's own validation refuses (istio `pkg/config/validation/validation.go`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::error::Result;
use crate::model::Protocol;
use crate::yaml::Manifest;
use crate::yaml::istio::{Resolution, ServiceEntry, ServiceEntrySpec, Workload};

/// Refuses an entry that istiod would not take.
pub(super) fn entry(manifest: &Manifest, entry: &ServiceEntry) -> Result<()> {
    let spec = &entry.spec;
    let problem = general(spec)
        .or_else(|| ports(spec))
        .or_else(|| spec.endpoints.iter().find_map(|workload| endpoint(spec, workload)))
        .or_else(|| ambiguous_hosts(spec));
    problem.map_or(Ok(()), |problem| Err(manifest.invalid(problem)))
}

fn general(spec: &ServiceEntrySpec) -> Option<String> {
    if spec.hosts.is_empty() {
        return Some("spec.hosts is empty; name at least one host".to_owned());
    }
    if !spec.endpoints.is_empty() && spec.workload_selector.is_some() {
        return Some("only one of endpoints and workloadSelector can be set".to_owned());
    }
    if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        return Some("with resolution DNS_ROUND_ROBIN there is at most one endpoint".to_owned());
    }
    None
}

fn ports(spec: &ServiceEntrySpec) -> Option<String> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    spec.ports.iter().find_map(|port| {
        if port.name.is_empty() {
            return Some(format!("port {} has no name; Istio wants one", port.number));
        }
        if !names.insert(&port.name) {
            return Some(format!("port name {} is used twice", port.name));
        }
        (!numbers.insert(port.number)).then(|| format!("port {} is there twice", port.number))
    })
}

fn endpoint(spec: &ServiceEntrySpec, workload: &Workload) -> Option<String> {
    let address = &workload.address;
    let is_ip = address.parse::<IpAddr>().is_ok();
    // Only a gateway knows an address that is not written.
    let is_behind_gateway = address.is_empty() && !workload.network.is_empty();
    match spec.resolution {
        Resolution::None => return Some("no endpoints may be given with resolution NONE".to_owned()),
        _ if address.starts_with("unix://") => {
            return Some(format!("endpoint {address}: the sandbox has no Unix sockets"));
        }
        Resolution::Static if !is_ip && !is_behind_gateway => {
            return Some(format!(
                "endpoint address {address} is not an IP address, as resolution STATIC wants"
            ));
        }
        _ => {}
    }
    let unknown = workload.ports.keys().find(|name| !spec.ports.iter().any(|port| port.name == **name));
    unknown.map(|name| format!("endpoint port {name} is not among the entry's ports"))
}

/// Without HTTP or TLS inside nothing tells several hosts on one port apart.
fn ambiguous_hosts(spec: &ServiceEntrySpec) -> Option<String> {
    if spec.resolution == Resolution::None || spec.hosts.len() < 2 {
        return None;
    }
    let is_ambiguous =
        |protocol: Protocol| !protocol.is_http() && !matches!(protocol, Protocol::Https | Protocol::Tls);
    let ambiguous = spec.ports.iter().find(|port| is_ambiguous(Protocol::parse(&port.protocol)))?;
    Some(format!("several hosts share port {}, which is neither HTTP nor TLS", ambiguous.number))
}
