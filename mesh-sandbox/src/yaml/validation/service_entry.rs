//! The validation of service entries (istio `ValidateServiceEntry`).

use std::collections::BTreeSet;

use super::{export_to, is_cidr, is_ip, is_pattern, number, workload};
use crate::yaml::istio::{Resolution, ServiceEntrySpec, Workload};
use crate::yaml::protocol::Protocol;

/// Returns the first problem of a service entry, or `None` if the entry is valid.
pub(super) fn problem(spec: &ServiceEntrySpec, namespace: &str) -> Option<String> {
    hosts(spec)
        .or_else(|| general(spec))
        .or_else(|| ports(spec))
        .or_else(|| spec.endpoints.iter().find_map(|workload| endpoint(spec, workload)))
        .or_else(|| ambiguous_hosts(spec))
        .or_else(|| export_to(&spec.export_to, namespace))
}

fn hosts(spec: &ServiceEntrySpec) -> Option<String> {
    if spec.hosts.is_empty() {
        return Some("spec.hosts is empty; add at least one host".to_owned());
    }
    let resolved = spec.endpoints.is_empty() && spec.workload_selector.is_none() && is_dns(spec.resolution);
    spec.hosts.iter().find_map(|host| {
        if host == "*" || !is_pattern(host) {
            return Some(format!("{host} is not a valid host name"));
        }
        (resolved && host.starts_with('*'))
            .then(|| format!("{host} cannot be resolved; add endpoints, or use a host without a wildcard"))
    })
}

fn general(spec: &ServiceEntrySpec) -> Option<String> {
    if !spec.endpoints.is_empty() && spec.workload_selector.is_some() {
        return Some("only one of endpoints and workloadSelector can be set".to_owned());
    }
    if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        return Some("with resolution DNS_ROUND_ROBIN at most one endpoint is allowed".to_owned());
    }
    spec.addresses.iter().find_map(|address| {
        if !is_cidr(address) {
            return Some(format!("{address} is neither an IP address nor an address range"));
        }
        (is_dns(spec.resolution) && address.contains('/'))
            .then(|| format!("the address range {address} requires resolution NONE or STATIC"))
    })
}

fn is_dns(resolution: Resolution) -> bool {
    matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin)
}

fn ports(spec: &ServiceEntrySpec) -> Option<String> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    spec.ports.iter().find_map(|port| {
        if port.name.is_empty() {
            return Some(format!("port {} has no name; add one", port.number));
        }
        if !names.insert(&port.name) {
            return Some(format!("port name {} is used twice", port.name));
        }
        if !numbers.insert(port.number) {
            return Some(format!("port {} is used twice", port.number));
        }
        let is_known = port.protocol.is_empty() || Protocol::parse(&port.protocol) != Protocol::Unsupported;
        number(port.number)
            .or_else(|| (!is_known).then(|| format!("{} is not a known protocol", port.protocol)))
    })
}

fn endpoint(spec: &ServiceEntrySpec, endpoint: &Workload) -> Option<String> {
    let address = &endpoint.address;
    // An endpoint without an address is reachable only through a gateway.
    let is_behind_gateway = address.is_empty() && !endpoint.network.is_empty();
    match spec.resolution {
        Resolution::None => return Some("endpoints are not allowed with resolution NONE".to_owned()),
        _ if address.starts_with("unix://") => {
            return Some(format!("endpoint {address}: the sandbox does not support Unix sockets"));
        }
        Resolution::Static if !is_ip(address) && !is_behind_gateway => {
            return Some(format!(
                "endpoint address {address} is not an IP address, which resolution STATIC requires"
            ));
        }
        _ => {}
    }
    let unknown = endpoint.ports.keys().find(|name| !spec.ports.iter().any(|port| port.name == **name));
    let unknown = unknown.map(|name| format!("endpoint port {name} is not a port of the entry"));
    unknown.or_else(|| workload(endpoint))
}

/// Returns a problem if several hosts share a port that is neither HTTP nor TLS: a proxy cannot distinguish the
/// connections to these hosts.
fn ambiguous_hosts(spec: &ServiceEntrySpec) -> Option<String> {
    if spec.resolution == Resolution::None || spec.hosts.len() < 2 {
        return None;
    }
    let is_ambiguous =
        |protocol: Protocol| !protocol.is_http() && !matches!(protocol, Protocol::Https | Protocol::Tls);
    let ambiguous = spec.ports.iter().find(|port| is_ambiguous(Protocol::parse(&port.protocol)))?;
    Some(format!("several hosts share port {}, which is neither HTTP nor TLS", ambiguous.number))
}
