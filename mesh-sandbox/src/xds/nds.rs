//! The name table of a proxy (istio `pkg/dns/server/name_table.go`, `pilot/pkg/model/service.go`).

use std::collections::HashMap;

use xds_proto::istio::networking::nds::v1::NameTable;
use xds_proto::istio::networking::nds::v1::name_table::NameInfo;

use super::{Proxy, World};
use crate::model::service::UNSPECIFIED;
use crate::model::{Endpoint, Health, Registry, Resolution, Service};

/// Returns the complete name table. istiod never sends a part of it.
pub(crate) fn table(world: World<'_>, proxy: &Proxy) -> NameTable {
    let mut table = HashMap::new();
    // The scope of a router lists no services (istio `pilot/pkg/model/sidecar.go`).
    for service in &world.scope(proxy).listed {
        add(&mut table, service, proxy, world.mesh.is_ambient);
    }
    NameTable { table }
}

fn add(table: &mut HashMap<String, NameInfo>, service: &Service, proxy: &Proxy, is_ambient: bool) {
    let mut addresses = Vec::new();
    let mut headless = false;
    for address in addresses_for(service, proxy, is_ambient) {
        if address == UNSPECIFIED {
            headless = true;
            break;
        }
        // An address range is not an address of a host.
        if !address.contains('/') {
            addresses.push(address);
        }
    }
    if headless && service.resolution == Resolution::Passthrough {
        addresses.extend(headless_addresses(table, service, proxy));
    }
    if addresses.is_empty() {
        return;
    }
    match table.get_mut(&service.host) {
        None => {
            table.insert(service.host.clone(), info(service, addresses));
        }
        Some(known) if known.registry == Registry::Kubernetes.as_str() => {}
        Some(known) if service.registry == Registry::Kubernetes => *known = info(service, addresses),
        Some(known) => known.ips.extend(addresses),
    }
}

fn info(service: &Service, ips: Vec<String>) -> NameInfo {
    let kubernetes = service.registry == Registry::Kubernetes;
    NameInfo {
        ips,
        registry: service.registry.as_str().to_owned(),
        shortname: if kubernetes { service.name.clone() } else { String::new() },
        namespace: if kubernetes { service.namespace.clone() } else { String::new() },
        alt_hosts: Vec::new(),
    }
}

/// Returns the addresses of a service in the Kubernetes cluster of the proxy. If there are none and the proxy has the
/// metadata `DNS_CAPTURE`, returns the automatically allocated virtual IPs. If there are no virtual IPs either, returns
/// the default address of the service (istio `pilot/pkg/model/service.go`).
fn addresses_for(service: &Service, proxy: &Proxy, is_ambient: bool) -> Vec<String> {
    let mut addresses = service.cluster_vips.get(&proxy.cluster).cloned().unwrap_or_default();
    if addresses.is_empty() && proxy.dns_capture {
        addresses.extend(service.auto_v4.map(|address| address.to_string()));
        addresses.extend(service.auto_v6.map(|address| address.to_string()));
    }
    // In ambient mode, a proxy with both address families gets all addresses. Otherwise, because dual stack is off, only
    // addresses of the proxy's families remain and, if both families remain, those of the family of the first address.
    if !is_ambient || !proxy.is_dual() {
        addresses.retain(|address| proxy.speaks(address));
        if let Some(is_v6) = addresses.first().map(|first| first.contains(':')) {
            addresses.retain(|address| address.contains(':') == is_v6);
        }
    }
    if !addresses.is_empty() {
        return addresses;
    }
    let default = service.default_address.clone();
    if !service.cluster_vips.is_empty() && !proxy.speaks(&default) {
        return Vec::new();
    }
    vec![default]
}

/// Returns the addresses of the pods of a headless service in the network of the proxy, and adds a name to the table
/// for each pod that has a subdomain.
fn headless_addresses(
    table: &mut HashMap<String, NameInfo>,
    service: &Service,
    proxy: &Proxy,
) -> Vec<String> {
    let Some(port) = service.ports.first() else {
        return Vec::new();
    };
    let near: Vec<&Endpoint> = service
        .endpoints_of(port)
        .filter(|endpoint| service.publish_not_ready || endpoint.health == Health::Healthy)
        .filter(|endpoint| proxy.is_in_network(&endpoint.network))
        .collect();
    add_pods(table, service, proxy, &near);
    near.into_iter().map(|endpoint| endpoint.address.clone()).collect()
}

/// Adds the name `<hostname>.<subdomain>.<namespace>.svc.…` of each pod that has a subdomain, with the address of the
/// pod. If pods in several Kubernetes clusters have the same name, and one of them is in the cluster of the proxy, the
/// name has only the addresses in that cluster.
fn add_pods(
    table: &mut HashMap<String, NameInfo>,
    service: &Service,
    proxy: &Proxy,
    endpoints: &[&Endpoint],
) {
    let Some((_, rest)) = service.host.split_once('.') else { return };
    let mut own: HashMap<String, NameInfo> = HashMap::new();
    let mut foreign: HashMap<String, NameInfo> = HashMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.subdomain.is_empty()) {
        let short = format!("{}.{}", endpoint.hostname, endpoint.subdomain);
        let side = if proxy.is_in_cluster(&endpoint.cluster) { &mut own } else { &mut foreign };
        let name = side.entry(format!("{short}.{rest}")).or_insert_with(|| NameInfo {
            ips: Vec::new(),
            registry: service.registry.as_str().to_owned(),
            shortname: short,
            namespace: service.namespace.clone(),
            alt_hosts: Vec::new(),
        });
        name.ips.push(endpoint.address.clone());
    }
    foreign.retain(|host, _| !own.contains_key(host));
    table.extend(foreign);
    table.extend(own);
}
