//! From a target to the cluster that stands for it: a pure function over snapshots.
//!
//! Order for a name: the name table's canonical name, the name itself as a service host, a wildcard host over it.
//! Order for an address: the name this process last resolved to it, then every name that has it, as far as a cluster
//! exists on that port. An address alone is ambiguous, because the ClusterIPs of two clusters overlap in practice:
//! with several services on the same address and port only the caller can say which one is meant.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use nds_client::resources::cluster::{Cluster, Clusters};

use crate::{
    dns::MeshNames,
    error::{Error, ErrorKind},
    target::{Host, Target},
};

/// The cluster that a target leads to. `None`: it leads outside of the mesh.
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

/// The service host that a name stands for.
fn service_host(name: &str, clusters: &Clusters, names: &impl MeshNames) -> Result<Option<String>, Error> {
    let has_cluster = |host: &str| clusters.has_host(host);
    let canonical = names.canonical(name);
    if let Some(canonical) = canonical.as_deref().filter(|canonical| has_cluster(canonical)) {
        return Ok(Some(canonical.to_owned()));
    }
    if has_cluster(name) {
        return Ok(Some(name.to_owned()));
    }
    if let Some(wildcard) = wildcards(name).find(|wildcard| has_cluster(wildcard)) {
        return Ok(Some(wildcard));
    }
    match canonical {
        None => Ok(None),
        Some(canonical) => Err(Error::new(
            ErrorKind::UnknownHost,
            format!("`{name}` is in the mesh's name table (as `{canonical}`), but no cluster leads to it"),
        )
        .because(&[
            "a Sidecar resource or exportTo hides the service from this workload",
            "the name is one pod of a headless service, which only its own network reaches: connect to the service",
        ])),
    }
}

/// `*.b.c`, `*.c` for `a.b.c`: the most specific first.
fn wildcards(name: &str) -> impl Iterator<Item = String> {
    name.match_indices('.').map(|(dot, _)| format!("*{}", &name[dot..]))
}

/// The service behind an address, if there is exactly one.
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
            // The address is a service's, the port is not: dialling it in plaintext would be wrong in any case.
            Some(host) => Err(unknown_port(target, host, &clusters.for_host(host))),
            None => Ok(None),
        },
        1 => Ok(candidates.into_iter().next().cloned()),
        _ => Err(ambiguous(target, &candidates)),
    }
}

/// The same where there are no clusters to tell by: the name last resolved, else the only one that has the address.
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
    let message = format!("{target} is the address of several services, {list}: connect by name");
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
    let has = if subsets.is_empty() { "it has none".into() } else { format!("it has {subsets}") };
    let (subset, port) = (target.subset(), target.port());
    Err(Error::new(ErrorKind::UnknownSubset, format!("`{host}:{port}` has no subset `{subset}`: {has}")))
}

fn unknown_port(target: &Target, host: &str, all: &[Arc<Cluster>]) -> Error {
    let ports: BTreeSet<_> = all.iter().map(|cluster| cluster.name.port).collect();
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let called = match target.host() {
        Host::Name(name) if name == host => String::new(),
        other => format!(" (called `{other}`)"),
    };
    Error::new(
        ErrorKind::UnknownPort,
        format!("`{host}`{called} has no port {}: it has {ports}. These are service ports", target.port()),
    )
}

#[cfg(test)]
mod tests;
