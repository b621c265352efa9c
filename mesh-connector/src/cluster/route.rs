//! Routing: selects the cluster of a target, as a pure function over snapshots.
//!
//! A name selects the first of these hosts that has a cluster: a Kubernetes service with this short name, the canonical
//! name in the name table, the name itself, a wildcard host that covers the name. A ServiceEntry whose host is a short
//! name of a service is therefore never selected, as in the lookup of names (`mesh_resolver`). An address selects the
//! name that this process most recently resolved to the address or, if that name has no cluster on the port, the name
//! that has the address in the name table and a cluster on the port. An address can be ambiguous, because the
//! ClusterIPs of several Kubernetes clusters often overlap: if several services have the same address and port, only
//! the caller can select one.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use nds_client::resources::cluster::{Cluster, Clusters};

use crate::{
    dns::MeshNames,
    error::{Error, ErrorKind},
    target::{Host, Target},
};

/// Returns the cluster of a target. `None` if the target is outside the mesh.
pub(super) fn route(
    target: &Target,
    clusters: &Clusters,
    names: &impl MeshNames,
) -> Result<Option<Arc<Cluster>>, Error> {
    let host = match target.host() {
        Host::Ip(ip) => service_at(*ip, target, clusters, names)?,
        Host::Name(name) => service_host(name, clusters, names)?,
    };
    match host {
        Some(host) => cluster(target, &host, clusters).map(Some),
        None => Ok(None),
    }
}

/// Returns the host of the clusters that serve a name. `None` if the name is outside the mesh.
fn service_host(name: &str, clusters: &Clusters, names: &impl MeshNames) -> Result<Option<String>, Error> {
    let has_cluster = |host: &str| clusters.has_host(host);
    // Some services have a cluster and no entry in the name table, such as headless services of other networks.
    if let Some(service) = names.service_names(name).into_iter().find(|service| has_cluster(service)) {
        return Ok(Some(service));
    }
    let canonical = names.canonical(name);
    if let Some(canonical) = canonical.as_deref().filter(|canonical| has_cluster(canonical)) {
        return Ok(Some(canonical.to_owned()));
    }
    // Do not use the name itself if it is a short form of another name: a ServiceEntry could have the short form as its
    // host.
    if canonical.as_deref().is_none_or(|canonical| canonical == name || canonical.starts_with('*')) {
        if has_cluster(name) {
            return Ok(Some(name.to_owned()));
        }
        if let Some(wildcard) = wildcards(name).find(|wildcard| has_cluster(wildcard)) {
            return Ok(Some(wildcard));
        }
    }
    match canonical {
        None => Ok(None),
        Some(canonical) => Err(Error::with_possible_causes(
            ErrorKind::UnknownHost,
            format!("the name table lists `{name}` as `{canonical}`, but istiod has sent no cluster for it"),
            None,
            &[
                "a Sidecar resource or exportTo hides the service from this workload",
                "the name belongs to a single pod of a headless service, and single pods are reachable only from their own network: connect to the name of the service",
            ],
        )),
    }
}

/// Returns the wildcards that cover a name, most specific first: `*.b.c`, `*.c` for `a.b.c`.
fn wildcards(name: &str) -> impl Iterator<Item = String> {
    name.match_indices('.').map(|(dot, _)| format!("*{}", &name[dot..]))
}

/// Returns the service that has the address on the port of the target. `None` if the address is outside the mesh.
/// Returns an error if several services have the address and the port, or if the service has no such port.
fn service_at(
    ip: IpAddr,
    target: &Target,
    clusters: &Clusters,
    names: &impl MeshNames,
) -> Result<Option<String>, Error> {
    let on_port =
        |host: &String| clusters.for_host(host).iter().any(|cluster| cluster.name.port == target.port());
    let canonical = names.last_resolved(ip).map(|name| names.canonical(&name).unwrap_or(name));
    if let Some(name) = canonical.filter(on_port) {
        return Ok(Some(name));
    }
    let known = names.at(ip);
    let candidates: BTreeSet<_> = known.iter().filter(|host| on_port(host)).collect();
    match candidates.len() {
        0 => match known.iter().find(|host| clusters.has_host(host)) {
            // The address belongs to a service without this port. A plaintext connection would be wrong.
            Some(host) => Err(unknown_port(target, host, &clusters.for_host(host))),
            None => Ok(None),
        },
        1 => Ok(candidates.into_iter().next().cloned()),
        _ => Err(ambiguous(target, &candidates)),
    }
}

/// Returns the service of an address without checking the clusters: the name that this process most recently resolved
/// to the address or, if there is none, the only name with the address. `None` if the address is outside the mesh.
pub(super) fn service_of_address(
    ip: IpAddr,
    target: &Target,
    names: &impl MeshNames,
) -> Result<Option<String>, Error> {
    if let Some(canonical) = names.last_resolved(ip).and_then(|name| names.canonical(&name)) {
        return Ok(Some(canonical));
    }
    let known: BTreeSet<_> = names.at(ip).into_iter().collect();
    match known.len() {
        0 | 1 => Ok(known.into_iter().next()),
        _ => Err(ambiguous(target, &known.iter().collect())),
    }
}

fn ambiguous(target: &Target, candidates: &BTreeSet<&String>) -> Error {
    let list = candidates.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(", ");
    let message = format!("{target} is the address of several services ({list}): connect by name");
    Error::new(ErrorKind::Ambiguous, message)
}

fn cluster(target: &Target, host: &str, clusters: &Clusters) -> Result<Arc<Cluster>, Error> {
    if let Some(cluster) = clusters.get(host, target.port(), target.subset()) {
        return Ok(cluster);
    }
    let all = clusters.for_host(host);
    let on_port: Vec<_> = all.iter().filter(|cluster| cluster.name.port == target.port()).collect();
    if on_port.is_empty() {
        return Err(unknown_port(target, host, &all));
    }
    let subsets = on_port.iter().map(|cluster| &*cluster.name.subset).filter(|subset| !subset.is_empty());
    let subsets = subsets.map(|subset| format!("`{subset}`")).collect::<Vec<_>>().join(", ");
    let has = if subsets.is_empty() {
        "the service has no subsets".into()
    } else {
        format!("known subsets: {subsets}")
    };
    let (subset, port) = (target.subset(), target.port());
    Err(Error::new(ErrorKind::UnknownSubset, format!("`{host}:{port}` has no subset `{subset}`: {has}")))
}

fn unknown_port(target: &Target, host: &str, all: &[Arc<Cluster>]) -> Error {
    let ports: BTreeSet<_> = all.iter().map(|cluster| cluster.name.port).collect();
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let called = match target.host() {
        Host::Name(name) if name == host => String::new(),
        other => format!(" (requested as `{other}`)"),
    };
    Error::new(
        ErrorKind::UnknownPort,
        format!("`{host}`{called} has no service port {}: its service ports are {ports}", target.port()),
    )
}

#[cfg(test)]
mod tests;
