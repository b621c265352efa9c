//! Looks a name up in a name table by the rules of Istio's DNS proxy: without IO, locks or allocation.
//!
//! The agent expands each table into a map of all names that it answers. This crate expands nothing: it derives from
//! the queried name the few table keys that it may be an expansion of, and looks them up. The rules come from
//! `pkg/dns/client/dns.go` in Istio:
//!
//! | rule | function |
//! |---|---|
//! | the case and the trailing dot of a query are ignored | `ServeDNS`, `buildDNSAnswers` |
//! | a Kubernetes entry in the domain of the proxy also matches `short.ns` and `short.ns.svc`, and `short` in the proxy's namespace; it never matches `short.ns.svc.cluster` | `generateAltHosts` |
//! | a matching name also matches with the first search domain appended, unless it already ends in that domain | `buildDNSAnswers` |
//! | any other name `a.b.c` matches the wildcard entry `*.b.c`, else `*.c`; `*.x` does not match `x` | `lookupHost` |
//! | a known name without addresses of the requested family is NODATA, not NXDOMAIN | `lookupHost` |
//!
//! # Deliberate differences
//!
//! * **Suffixes are compared by label.** The agent compares strings: it treats `a.foons1.svc.cluster.local` as a name
//!   that already ends in the search domain `ns1.svc.cluster.local`, and does not expand it. This crate expands it.
//!   For the same reason, an entry in `foosvc.cluster.local` has no short names in `svc.cluster.local`.
//! * **A Kubernetes service wins over a ServiceEntry, and the more literal match wins.** Two entries of a table may
//!   match one name: exactly, by a short name, or by the search domain. In the agent, the iteration order of a Go map
//!   decides, and an expansion by the search domain hides an entry of exactly that name. Here the order is fixed:
//!   Kubernetes services before ServiceEntries, and within each of them the exact name, a short name, the search
//!   domain. A ServiceEntry with the host `forecast.weather` therefore does not receive the traffic of the service
//!   `forecast` in the namespace `weather`.
//!
//!   In a pod without DNS capture, the same happens to TCP connections: the search list of the pod (`ndots:5`)
//!   completes `forecast.weather` to `forecast.weather.svc.cluster.local` first, and cluster DNS knows only the
//!   service. Two cases differ. With DNS capture, both entries have the name `forecast.weather.` in the agent's map,
//!   and the one that the agent inserts last wins. For HTTP on a port with a declared protocol, the sidecar routes by
//!   the Host header, and istiod gives the domain `forecast.weather` to the ServiceEntry, because a host precedes an
//!   expansion (`pilot/pkg/networking/core/httproute.go`, `dedupeDomains`). This crate deliberately does not follow
//!   these cases: everybody who may create a ServiceEntry could take over the service.
//! * **Short names require entries named `short.ns.<domain>`**, as all Kubernetes services are. The agent also
//!   assigns short names to an entry whose fields do not agree with its key.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    slice,
    time::Duration,
};

use nds_client::resources::name_table::{NameEntry, NameTable, Registry};

use crate::{
    name::{MAX_NAME, NameBuffer},
    search_scope::{SearchScope, strip_suffix},
};

/// The TTL of mesh answers, as in Istio's DNS proxy (`pkg/dns/client/dns.go`, `defaultTTLInSeconds`).
pub(crate) const MESH_TTL: Duration = Duration::from_secs(30);

/// The kind of match between a name and its entry in the name table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MatchKind {
    /// The name equals the key of the entry.
    Exact,
    /// The name is a short name of a Kubernetes service: `forecast.weather`, `forecast.weather.svc`, `forecast`.
    ShortName,
    /// The name without the host's first search domain matches.
    SearchDomain,
    /// The name matches a wildcard entry.
    Wildcard,
}

/// The answer of the name table to one query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    entry: NameEntry<'a>,
    match_kind: MatchKind,
    /// The length of the matched name, which is the query without the search domain.
    matched_len: u8,
    /// The position in the query of the `*` of the matched wildcard, or [`NO_STAR`].
    star: u8,
    /// The address that replaces the addresses of the entry; `None` to return those of the entry.
    local: Option<IpAddr>,
}

/// A position beyond the end of any name.
const NO_STAR: u8 = u8::MAX;
const _: () = assert!(MAX_NAME < NO_STAR as usize, "a position in a name fits into a u8");

impl<'a> Answer<'a> {
    #[inline]
    fn new(entry: NameEntry<'a>, match_kind: MatchKind, known: &str) -> Self {
        Self {
            entry,
            match_kind,
            matched_len: u8::try_from(known.len()).unwrap_or(NO_STAR),
            star: NO_STAR,
            local: None,
        }
    }

    /// Creates the answer for an entry that [`exact`] found.
    #[inline]
    pub(crate) fn exact(entry: NameEntry<'a>, question: &str) -> Self {
        Self::new(entry, MatchKind::Exact, question.strip_suffix('.').unwrap_or(question))
    }

    /// Replaces the addresses of the entry by `local`; `None` leaves them unchanged.
    pub(crate) fn with_local(self, local: Option<IpAddr>) -> Self {
        Self { local, ..self }
    }

    /// Returns the time for which the caller may cache the answer. A local address must not be cached, because its
    /// listener may be closed later.
    #[inline]
    pub(crate) fn ttl(&self) -> Duration {
        if self.local.is_some() { Duration::ZERO } else { MESH_TTL }
    }

    /// Returns [`ttl`](Self::ttl) in seconds, the unit of DNS records.
    #[cfg_attr(
        not(any(feature = "hickory", feature = "listener")),
        allow(dead_code, reason = "only adapters that write DNS records use it")
    )]
    pub(crate) fn ttl_seconds(&self) -> u32 {
        u32::try_from(self.ttl().as_secs()).unwrap_or(u32::MAX)
    }

    /// Returns the name table entry that matched the name.
    pub(crate) fn entry(&self) -> NameEntry<'a> {
        self.entry
    }

    /// Returns the canonical name: the key of the entry (`*.x` for a wildcard entry). istiod uses this name in the
    /// names of the service's clusters.
    #[inline]
    pub(crate) fn name(&self) -> &'a str {
        self.entry.name()
    }

    /// Returns the kind of match between the name and its table entry.
    #[inline]
    pub(crate) fn match_kind(&self) -> MatchKind {
        self.match_kind
    }

    /// Returns the IPv4 addresses in istiod's order. If there are none, the answer to an A query is NODATA.
    #[inline]
    pub(crate) fn ipv4(&self) -> &[Ipv4Addr] {
        match &self.local {
            None => self.entry.ipv4(),
            Some(IpAddr::V4(ip)) => slice::from_ref(ip),
            Some(IpAddr::V6(_)) => &[],
        }
    }

    /// Returns the IPv6 addresses in istiod's order. If there are none, the answer to an AAAA query is NODATA.
    #[inline]
    pub(crate) fn ipv6(&self) -> &[Ipv6Addr] {
        match &self.local {
            None => self.entry.ipv6(),
            Some(IpAddr::V6(ip)) => slice::from_ref(ip),
            Some(IpAddr::V4(_)) => &[],
        }
    }

    /// Returns the target of the CNAME record with which a DNS response begins, if the name matched by the search
    /// domain; `None` if it matched in another way. The target of a wildcard entry stays literal (`lookupHost`).
    /// `question` must be the name that was looked up.
    #[cfg_attr(
        not(any(feature = "hickory", feature = "listener")),
        allow(dead_code, reason = "only adapters that write DNS records use it")
    )]
    pub(crate) fn alias(&self, question: &str) -> Option<String> {
        if self.match_kind != MatchKind::SearchDomain {
            return None;
        }
        let known = self.matched_name(question)?;
        match self.star {
            NO_STAR => Some(known),
            star => Some(format!("*{}", known.get(usize::from(star) + 1..)?)),
        }
    }

    /// Returns the matched name in lower case: the query without the search domain.
    pub(crate) fn matched_name(&self, question: &str) -> Option<String> {
        question.get(..self.matched_len.into()).map(str::to_ascii_lowercase)
    }
}

/// Looks a name up. Returns `None` for an unknown name.
#[inline]
pub(crate) fn lookup<'a>(table: &'a NameTable, scope: &SearchScope, question: &str) -> Option<Answer<'a>> {
    match exact(table, question) {
        Some(entry) => Some(Answer::exact(entry, question)),
        None => lookup_other_matches(table, scope, question),
    }
}

/// Finds the Kubernetes service whose key equals the name, except for a trailing dot. Most queries match here, without
/// conversion to lower case. A ServiceEntry is not found here, because a Kubernetes service with this short name would
/// precede it.
///
/// The function is always inlined, so that the processor can overlap the memory accesses of consecutive lookups.
#[inline(always)]
pub(crate) fn exact<'a>(table: &'a NameTable, question: &str) -> Option<NameEntry<'a>> {
    let plain = question.strip_suffix('.').unwrap_or(question);
    table.get(plain).filter(|entry| !plain.is_empty() && is_kubernetes(*entry))
}

#[inline]
fn is_kubernetes(entry: NameEntry<'_>) -> bool {
    entry.registry() == Registry::Kubernetes
}

/// Looks up a name that [`exact`] does not find.
#[inline(never)]
pub(crate) fn lookup_other_matches<'a>(
    table: &'a NameTable,
    scope: &SearchScope,
    question: &str,
) -> Option<Answer<'a>> {
    let mut buffer = NameBuffer::new();
    let name = buffer.fold(question)?;
    let kubernetes = find_with_search_domain(scope, name, |name| match table.get(name) {
        Some(entry) if is_kubernetes(entry) => Some((entry, MatchKind::Exact)),
        _ => short_name(table, scope, name).map(|entry| (entry, MatchKind::ShortName)),
    });
    let service_entry =
        || find_with_search_domain(scope, name, |name| Some((table.get(name)?, MatchKind::Exact)));
    kubernetes.or_else(service_entry).or_else(|| wildcard(table, scope, name))
}

/// Returns the ServiceEntry with exactly this name that is not found, because a Kubernetes service with this short name
/// precedes it. The name may end in the search domain.
pub(crate) fn shadowed<'a>(
    table: &'a NameTable,
    scope: &SearchScope,
    question: &str,
) -> Option<NameEntry<'a>> {
    let mut buffer = NameBuffer::new();
    let name = buffer.fold(question)?;
    let service_entry =
        find_with_search_domain(scope, name, |name| Some((table.get(name)?, MatchKind::Exact)))?;
    let found = lookup(table, scope, question)?;
    (found.name() != service_entry.name()).then_some(service_entry.entry)
}

/// Whether this table or an earlier one contained an entry that [`lookup`] would find for the name: by the exact name,
/// a short name, the search domain or a wildcard.
pub(crate) fn was_listed(table: &NameTable, scope: &SearchScope, question: &str) -> bool {
    let mut buffer = NameBuffer::new();
    let Some(name) = buffer.fold(question) else { return false };
    let wildcards = |name: &str| {
        name.match_indices('.')
            .any(|(dot, _)| table.was_listed(&format!("*{}", name.get(dot..).unwrap_or_default())))
    };
    [Some(name), strip_suffix(name, scope.search_domain())].into_iter().flatten().any(|name| {
        table.was_listed(name)
            || scope.service_names(name).any(|service| table.was_listed(&service))
            || wildcards(name)
    })
}

/// Looks up a lower-case name with `find`, first unchanged, then without the search domain.
fn find_with_search_domain<'a>(
    scope: &SearchScope,
    name: &str,
    find: impl Fn(&str) -> Option<(NameEntry<'a>, MatchKind)>,
) -> Option<Answer<'a>> {
    if let Some((entry, match_kind)) = find(name) {
        return Some(Answer::new(entry, match_kind, name));
    }
    let searched = scope.search_domain();
    let short = strip_suffix(name, searched)?;
    if short == searched || strip_suffix(short, searched).is_some() {
        return None;
    }
    let (entry, _) = find(short)?;
    Some(Answer::new(entry, MatchKind::SearchDomain, short))
}

/// Finds the Kubernetes entry with this short name: `short.ns`, `short.ns.svc`, or `short` in the namespace of the
/// scope.
fn short_name<'a>(table: &'a NameTable, scope: &SearchScope, name: &str) -> Option<NameEntry<'a>> {
    if scope.domain().is_empty() {
        return None;
    }
    let (service_label, _) = scope.domain_parts();
    let qualified = |name: &str| {
        let (short, namespace) = name.rsplit_once('.')?;
        service(table, scope, short, namespace)
    };
    qualified(name)
        .or_else(|| qualified(strip_suffix(name, service_label)?))
        .or_else(|| service(table, scope, name, scope.namespace()))
}

/// Finds a Kubernetes service in the cluster domain of the scope. The short name of a pod contains a dot:
/// `mysql-0.mysql`.
fn service<'a>(
    table: &'a NameTable,
    scope: &SearchScope,
    short: &str,
    namespace: &str,
) -> Option<NameEntry<'a>> {
    if short.is_empty() || namespace.is_empty() {
        return None;
    }
    let mut buffer = NameBuffer::new();
    let entry = table.get(buffer.join(&[short, namespace, scope.domain()])?)?;
    (entry.service() == (short, namespace, Registry::Kubernetes)).then_some(entry)
}

/// Finds the most specific wildcard entry that matches the name. Wildcard entries have no short names.
fn wildcard<'a>(table: &'a NameTable, scope: &SearchScope, name: &str) -> Option<Answer<'a>> {
    let mut buffer = NameBuffer::new();
    buffer.join(&[name])?;
    for (dot, _) in name.match_indices('.') {
        let star = dot.checked_sub(1)?;
        let find = |pattern: &str| Some((table.get(pattern)?, MatchKind::Wildcard));
        if let Some(answer) = find_with_search_domain(scope, buffer.wildcard(star)?, find) {
            let star = u8::try_from(star).ok()?;
            return Some(Answer { matched_len: star.saturating_add(answer.matched_len), star, ..answer });
        }
    }
    None
}

#[cfg(test)]
mod tests;
