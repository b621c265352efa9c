//! The first step: what a host is in the mesh.

use std::net::IpAddr;

use mesh_resolver::MatchKind;
use nds_client::resources::name_table::Registry;
use serde::Serialize;

use crate::{
    dns::{Dns, MeshNames as _},
    target::Host,
};

/// What a host is in the mesh's name table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedName {
    /// How it was found there.
    pub found: NameFound,
    /// The mesh's own name for it.
    pub canonical: Option<String>,
    /// The addresses that the table has. They are for programs that only resolve: connections go to endpoints.
    pub addresses: Vec<IpAddr>,
    /// Where istiod knows the name from: `kubernetes` or `service_entry`.
    pub registry: Option<&'static str>,
    /// Of an address: every name that has it. Several are why an address alone may be ambiguous.
    pub names: Vec<String>,
}

/// How a host was found in the name table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NameFound {
    /// It is an address that names have.
    Address,
    /// It is the name of an entry.
    Exact,
    /// It is an address that this process resolved a name to.
    LastResolved,
    /// It is a name with the host's search list behind it.
    SearchList,
    /// It is a short name of a Kubernetes service.
    ShortName,
    /// The table does not have it.
    Unknown,
    /// A wildcard entry covers it.
    Wildcard,
}

/// Looks a host up as routing does.
pub(super) fn explain(host: &Host, dns: &Dns) -> ExplainedName {
    match host {
        Host::Ip(ip) => at(*ip, dns),
        Host::Name(name) => named(name, dns),
    }
}

fn named(name: &str, dns: &Dns) -> ExplainedName {
    let canonical = dns.resolver.canonical_name(name);
    let found = match (dns.resolver.try_lookup(name), &canonical) {
        (Some(found), _) => match found.match_kind() {
            MatchKind::ShortName => NameFound::ShortName,
            MatchKind::SearchDomain => NameFound::SearchList,
            MatchKind::Wildcard => NameFound::Wildcard,
            _ => NameFound::Exact,
        },
        (None, Some(_)) => NameFound::SearchList,
        (None, None) => NameFound::Unknown,
    };
    let table = dns.names.load();
    let entry = canonical.as_deref().and_then(|canonical| table.get(canonical));
    ExplainedName {
        found,
        addresses: entry.iter().flat_map(|entry| entry.addresses()).collect(),
        registry: entry.map(|entry| registry(entry.registry())),
        canonical,
        names: Vec::new(),
    }
}

fn at(ip: IpAddr, dns: &Dns) -> ExplainedName {
    let last = dns.last_resolved(ip);
    let mut names = dns.at(ip);
    names.sort();
    let (found, canonical) = match (last, &names[..]) {
        (Some(name), _) => (NameFound::LastResolved, Some(name)),
        (None, []) => (NameFound::Unknown, None),
        (None, [name]) => (NameFound::Address, Some(name.clone())),
        (None, _) => (NameFound::Address, None),
    };
    ExplainedName { found, canonical, addresses: vec![ip], registry: None, names }
}

fn registry(registry: Registry) -> &'static str {
    match registry {
        Registry::Kubernetes => "kubernetes",
        _ => "service_entry",
    }
}
