//! Step 1 of an explanation: the lookup of the host in the name table.

use std::net::IpAddr;

use mesh_resolver::MatchKind;
use nds_client::resources::{cluster::Clusters, name_table::Registry};
use serde::Serialize;

use crate::{
    dns::{Dns, MeshNames as _},
    target::Host,
};

/// The result of looking up the host of the target in the name table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Name {
    /// The kind of the match.
    pub match_kind: NameMatch,
    /// The canonical name of the host. `None` if the name table does not contain the host, or if several names have it
    /// as their address.
    pub canonical: Option<String>,
    /// The host of a ServiceEntry that equals the name and is not used, because the name is also a short name of a
    /// Kubernetes service. `None` if there is no such ServiceEntry.
    pub shadowed: Option<String>,
    /// The addresses of the host in the name table. Connections do not use these addresses: they go to endpoints.
    pub addresses: Vec<IpAddr>,
    /// The source of the name: `kubernetes` or `service_entry`. `None` if it is unknown.
    pub registry: Option<&'static str>,
    /// All names that have the host as their address, if the host is an IP address. If there are several names, the
    /// address can be ambiguous.
    pub names: Vec<String>,
}

/// The kind of a match between a host and the name table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NameMatch {
    /// The host is an address of one or more names.
    Address,
    /// The host is the name of an entry in the name table.
    Exact,
    /// The host is an address that this process resolved from a name before.
    LastResolved,
    /// The host matched after appending the DNS search domain.
    SearchDomain,
    /// The host is the short name of a Kubernetes service.
    ShortName,
    /// The name table does not contain the host.
    Unknown,
    /// A wildcard entry covers the host.
    Wildcard,
}

/// Looks up a host in the same way as routing.
///
/// `clusters` are the clusters from istiod, or `None` before the first push. They are needed because a ServiceEntry may
/// have a cluster but no entry in the name table.
pub(super) fn explain(host: &Host, dns: &Dns, clusters: Option<&Clusters>) -> Name {
    match host {
        Host::Ip(ip) => at(*ip, dns),
        Host::Name(name) => named(name, dns, clusters),
    }
}

fn named(name: &str, dns: &Dns, clusters: Option<&Clusters>) -> Name {
    let has_cluster = |host: &str| clusters.is_some_and(|clusters| clusters.has_host(host));
    // Routing selects a Kubernetes service with this short name even if the name table contains only a ServiceEntry.
    let service = dns.service_names(name).into_iter().find(|service| has_cluster(service));
    let shadowed = dns
        .resolver
        .shadowed_name(name)
        .or_else(|| service.as_ref().filter(|_| has_cluster(name)).map(|_| name.to_owned()));
    let is_short = service.is_some();
    let canonical = service.or_else(|| dns.resolver.canonical_name(name));
    let match_kind = match (dns.resolver.try_lookup(name), &canonical) {
        _ if is_short => NameMatch::ShortName,
        (Some(found), _) => match found.match_kind() {
            MatchKind::ShortName => NameMatch::ShortName,
            MatchKind::SearchDomain => NameMatch::SearchDomain,
            MatchKind::Wildcard => NameMatch::Wildcard,
            _ => NameMatch::Exact,
        },
        (None, Some(_)) => NameMatch::SearchDomain,
        (None, None) => NameMatch::Unknown,
    };
    let table = dns.names.load();
    let entry = canonical.as_deref().and_then(|canonical| table.get(canonical));
    Name {
        match_kind,
        shadowed,
        addresses: entry.iter().flat_map(|entry| entry.addresses()).collect(),
        registry: entry.map(|entry| registry(entry.registry())),
        canonical,
        names: Vec::new(),
    }
}

fn at(ip: IpAddr, dns: &Dns) -> Name {
    let last = dns.last_resolved(ip);
    let mut names = dns.at(ip);
    names.sort();
    let (match_kind, canonical) = match (last, &names[..]) {
        (Some(name), _) => (NameMatch::LastResolved, Some(name)),
        (None, []) => (NameMatch::Unknown, None),
        (None, [name]) => (NameMatch::Address, Some(name.clone())),
        (None, _) => (NameMatch::Address, None),
    };
    Name { match_kind, canonical, shadowed: None, addresses: vec![ip], registry: None, names }
}

fn registry(registry: Registry) -> &'static str {
    match registry {
        Registry::Kubernetes => "kubernetes",
        _ => "service_entry",
    }
}
