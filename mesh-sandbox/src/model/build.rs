//! Merges the Kubernetes clusters into one mesh (istio `serviceregistry/aggregate/controller.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::entry::Reader;
use super::kubernetes::Cluster;
use super::pods::Pods;
use super::policy::Policies;
use super::rules::Rules;
use super::scope::Scopes;
use super::sidecar::Sidecars;
use super::slices::Slices;
use super::{
    Endpoint, Group, Mesh, NetworkGateway, Networks, Objects, Resolution, Service, VipAllocator, each,
    endpoint, gateway,
};
use crate::dns::hosts::Hosts;
use crate::error::Result;
use crate::yaml::istio::Workload;
use crate::yaml::mesh_config::MeshConfig;
use crate::yaml::mesh_networks::MeshNetworks;
use crate::yaml::{Key, Manifest, Object};

pub(super) fn build(
    mesh_config: &MeshConfig,
    objects: &Objects,
    networks: &MeshNetworks,
    upstream: &Hosts,
    vips: &mut VipAllocator,
) -> Result<Mesh> {
    let trust_domain = mesh_config.trust_domain.as_str();
    let empty = BTreeMap::new();
    // The first cluster is the config cluster, the only one from which the Istio kinds are read.
    let (config_cluster, config) = objects.iter().next().map_or(("", &empty), |(id, it)| (id.as_str(), it));
    let policies = Policies::read(config);
    let entries = workload_entries(config);
    let pods: BTreeMap<&str, Pods<'_>> =
        objects.iter().map(|(id, objects)| (id.as_str(), Pods::read(objects))).collect();
    let slices: BTreeMap<&str, Slices<'_>> =
        objects.iter().map(|(id, objects)| (id.as_str(), Slices::read(objects))).collect();
    let networks = Networks::read(objects, networks);

    let clusters: Vec<Cluster<'_>> = objects
        .iter()
        .map(|(id, objects)| Cluster {
            id,
            is_config: id == config_cluster,
            networks: &networks,
            trust_domain,
            objects,
            pods: &pods[id.as_str()],
            slices: &slices[id.as_str()],
            policies: &policies,
            entries: if id == config_cluster { &entries } else { &[] },
        })
        .collect();

    let mut services = merge(clusters.iter().map(|cluster| (cluster.id, cluster.services())));
    let selectable: Vec<Endpoint> = clusters.iter().flat_map(Cluster::pod_endpoints).collect();
    let reader = Reader {
        cluster: config_cluster,
        trust_domain,
        policies: &policies,
        entries: &entries,
        pods: &selectable,
    };
    services.extend(entry_services(&reader, config, vips)?);
    share_endpoints(&mut services);
    // Older services come first: the oldest service of a host wins (istio `SortServicesByCreationTime`).
    services.sort_by(|a, b| (&a.created, &a.name, &a.namespace).cmp(&(&b.created, &b.name, &b.namespace)));
    share_identities(&mut services);

    let unresolved = gateways(&clusters, &networks);
    let mut mesh = Mesh {
        config: mesh_config.clone(),
        config_cluster: config_cluster.to_owned(),
        is_ambient: has_ambient_pods(objects),
        networks,
        services: services.into_iter().map(Arc::new).collect(),
        gateways: resolved(&unresolved, upstream),
        unresolved,
        upstream: upstream.clone(),
        policies,
        sidecars: Sidecars::read(config),
        rules: Rules::read(config),
        scopes: Scopes::default(),
        servers: Vec::new(),
        groups: Vec::new(),
    };
    read_config(config, &mut mesh)?;
    Ok(mesh)
}

/// Returns the gateways of all clusters and of `meshNetworks.yaml`, sorted.
fn gateways(clusters: &[Cluster<'_>], networks: &Networks) -> Vec<NetworkGateway> {
    let of_cluster =
        |cluster: &Cluster<'_>| gateway::gateways(cluster.id, cluster.objects, cluster.pods, networks);
    let mut gateways: Vec<_> = clusters.iter().flat_map(of_cluster).chain(networks.gateways()).collect();
    gateways.sort();
    gateways
}

fn has_ambient_pods(objects: &Objects) -> bool {
    let mut all = objects.values().flat_map(BTreeMap::values);
    all.any(|it| matches!(it.object, Object::Pod(_)) && endpoint::is_ambient(&it.metadata.annotations))
}

/// Replaces the names of gateways by their addresses. Each address becomes a separate gateway, and names without
/// addresses are omitted (istio `pilot/pkg/model/network.go`).
fn resolved(gateways: &[NetworkGateway], upstream: &Hosts) -> Vec<NetworkGateway> {
    let mut resolved = Vec::new();
    for gateway in gateways {
        if gateway.address.parse::<IpAddr>().is_ok() {
            resolved.push(gateway.clone());
            continue;
        }
        for address in upstream.get(&gateway.address).unwrap_or_default() {
            resolved.push(NetworkGateway { address: address.to_string(), ..gateway.clone() });
        }
    }
    resolved.sort();
    resolved.dedup();
    resolved
}

fn read_config(config: &BTreeMap<Key, Manifest>, mesh: &mut Mesh) -> Result<()> {
    for manifest in config.values() {
        match &manifest.object {
            Object::Gateway(gateway) => mesh.servers.extend(gateway::servers(manifest, gateway)?),
            Object::WorkloadGroup(group) => mesh.groups.push(Group {
                namespace: manifest.key.namespace.clone(),
                name: manifest.key.name.clone(),
                object: group.clone(),
            }),
            _ => {}
        }
    }
    Ok(())
}

/// Gives all services of one host and namespace the same endpoints, the endpoints of the oldest service first, because
/// istiod stores endpoints by host and namespace (istio `endpointshards.go`). A cluster of type LOGICAL_DNS has one
/// endpoint: if a port has endpoints already, endpoints of another entry with resolution DNS_ROUND_ROBIN are omitted
/// (istio `mergeServicesInstancesByNamespaceHost`).
fn share_endpoints(services: &mut [Service]) {
    let mut by_host: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        by_host.entry((service.host.clone(), service.namespace.clone())).or_default().push(index);
    }
    for mut members in by_host.into_values().filter(|members| members.len() > 1) {
        members.sort_by_key(|index| services[*index].created.clone());
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut taken = BTreeSet::new();
        for service in members.iter().map(|index| &services[*index]) {
            for endpoint in &service.endpoints {
                let is_new = taken.insert(service.number_of(endpoint));
                if is_new || service.resolution != Resolution::DnsRoundRobin {
                    endpoints.push(endpoint.clone());
                }
            }
        }
        for index in members {
            services[index].endpoints.clone_from(&endpoints);
        }
    }
}

/// Gives all services of one host and namespace the identities of the newest of these services (istio
/// `initServiceAccounts`).
fn share_identities(services: &mut [Service]) {
    let key = |service: &Service| (service.host.clone(), service.namespace.clone());
    let youngest: BTreeMap<_, _> =
        services.iter().map(|service| (key(service), service.extra_identities.clone())).collect();
    for service in services {
        service.extra_identities.clone_from(&youngest[&key(service)]);
    }
}

fn entry_services(
    reader: &Reader<'_>,
    config: &BTreeMap<Key, Manifest>,
    vips: &mut VipAllocator,
) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    let mut live = BTreeSet::new();
    let found = each(config, |object| match object {
        Object::ServiceEntry(entry) => Some(entry),
        _ => None,
    });
    for (manifest, entry) in found {
        services.extend(reader.services(manifest, entry, vips, &mut live)?);
    }
    vips.retain(&live);
    Ok(services)
}

fn workload_entries(config: &BTreeMap<Key, Manifest>) -> Vec<(&Manifest, &Workload)> {
    each(config, |object| match object {
        Object::WorkloadEntry(entry) => Some(entry),
        _ => None,
    })
    .map(|(manifest, entry)| (manifest, &entry.spec))
    .collect()
}

/// Merges the services of all clusters by host: the first cluster defines the service, including its ports, and every
/// cluster adds addresses and endpoints (istio `serviceregistry/aggregate/controller.go`).
fn merge<'a>(clusters: impl Iterator<Item = (&'a str, Vec<Service>)>) -> Vec<Service> {
    let mut merged: Vec<Service> = Vec::new();
    let mut by_host: BTreeMap<String, usize> = BTreeMap::new();
    for (cluster, services) in clusters {
        for service in services {
            let Some(index) = by_host.get(&service.host) else {
                by_host.insert(service.host.clone(), merged.len());
                merged.push(service);
                continue;
            };
            let first = &mut merged[*index];
            let addresses = service.cluster_vips.get(cluster).cloned().unwrap_or_default();
            first.cluster_vips.entry(cluster.to_owned()).or_insert(addresses);
            first.extra_identities.extend(service.extra_identities);
            first.endpoints.extend(service.endpoints);
        }
    }
    merged
}
