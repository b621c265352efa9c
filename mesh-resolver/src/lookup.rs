//! What Istio's DNS proxy would answer from a name table: pure, wait-free, without allocation.
//!
//! The agent expands each table into a map of every name it answers. Here nothing is expanded: a question is
//! turned into the few keys it could be an expansion of, and those are looked up. The rules, with their place in
//! Istio's `pkg/dns/client/dns.go`:
//!
//! | rule | agent |
//! |---|---|
//! | case and the trailing dot of a question do not matter | `ServeDNS`, `buildDNSAnswers` |
//! | a Kubernetes entry under the proxy's domain is also `short.ns` and `short.ns.svc`, and `short` in the own namespace; never `short.ns.svc.cluster` | `generateAltHosts` |
//! | any known name with the first search domain behind it is known too, unless it already ends in that domain | `buildDNSAnswers` |
//! | what is not known is looked for as `*.b.c`, then `*.c`; `*.x` does not match `x` | `lookupHost` |
//! | a known name without the family asked for has no records; it is not unknown | `lookupHost` |
//!
//! # Deliberate differences
//!
//! * **Suffixes are compared by labels.** The agent compares text: it takes `a.foons1.svc.cluster.local` for a name
//!   that already ends in the search domain `ns1.svc.cluster.local`, and does not expand it. Here it is expanded.
//!   By the same reasoning, an entry under `foosvc.cluster.local` gets no short names in `svc.cluster.local`.
//! * **The more literal reading wins.** Where two entries of a table claim one name (as itself, as a short name, by
//!   the search domain), the agent's answer depends on the order of a Go map, and an expansion by the search domain
//!   hides a service of that very name. Here the order is always: the name itself, a short name, the search domain.
//! * **Short names belong to entries named `short.ns.<domain>`**, as all of Kubernetes' are. The agent would also
//!   give them to an entry whose fields and key disagree.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    slice,
};

use nds_client::resources::name_table::{NameEntry, NameTable, Registry};

use crate::{
    name::{MAX_NAME, NameBuffer},
    scope::Scope,
};

/// How a question found its entry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Via {
    /// A short name of a Kubernetes service: `forecast.weather`, `forecast.weather.svc`, `forecast`.
    Alternate,
    /// The name that the table has.
    Exact,
    /// One of the other ways, with the host's first search domain behind it.
    SearchDomain,
    /// A wildcard entry that covers the name.
    Wildcard,
}

/// The mesh's answer to one question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    entry: NameEntry<'a>,
    via: Via,
    /// How much of the question is the name that was known, when the search domain is cut off.
    known_len: u8,
    /// Where in the question the `*` of the wildcard that matched would stand; [`NO_STAR`].
    star: u8,
    /// The address that is given out instead of the entry's.
    local: Option<IpAddr>,
}

/// Behind the end of any name.
const NO_STAR: u8 = u8::MAX;
const _: () = assert!(MAX_NAME < NO_STAR as usize, "positions in a name fit");

impl<'a> Answer<'a> {
    #[inline]
    fn new(entry: NameEntry<'a>, via: Via, known: &str) -> Self {
        Self {
            entry,
            via,
            known_len: u8::try_from(known.len()).unwrap_or(NO_STAR),
            star: NO_STAR,
            local: None,
        }
    }

    /// The answer to a question that [`exact`] found the entry of.
    #[inline]
    pub(crate) fn exact(entry: NameEntry<'a>, question: &str) -> Self {
        Self::new(entry, Via::Exact, question.strip_suffix('.').unwrap_or(question))
    }

    /// The same answer with an address in the place of the entry's.
    pub(crate) fn with_local(self, local: Option<IpAddr>) -> Self {
        Self { local, ..self }
    }

    /// The entry that answers.
    pub(crate) fn entry(&self) -> NameEntry<'a> {
        self.entry
    }

    /// The canonical name: the key of the table, under which istiod also knows the clusters of the service.
    /// `*.x` where a wildcard entry answers.
    #[inline]
    pub(crate) fn name(&self) -> &'a str {
        self.entry.name()
    }

    /// How the question found the entry.
    #[inline]
    pub(crate) fn via(&self) -> Via {
        self.via
    }

    /// The IPv4 addresses, in istiod's order. Without any, a question for A has no data; the name is still known.
    #[inline]
    pub(crate) fn ipv4(&self) -> &[Ipv4Addr] {
        match &self.local {
            None => self.entry.ipv4(),
            Some(IpAddr::V4(ip)) => slice::from_ref(ip),
            Some(IpAddr::V6(_)) => &[],
        }
    }

    /// The IPv6 addresses, in istiod's order. Without any, a question for AAAA has no data; the name is still known.
    #[inline]
    pub(crate) fn ipv6(&self) -> &[Ipv6Addr] {
        match &self.local {
            None => self.entry.ipv6(),
            Some(IpAddr::V6(ip)) => slice::from_ref(ip),
            Some(IpAddr::V4(_)) => &[],
        }
    }

    /// The target of the CNAME record that a DNS answer to `question` begins with, if it begins with one. The target
    /// of a wildcard stays literal (`lookupHost`). `question` must be the one that was looked up.
    #[cfg_attr(
        not(any(feature = "hickory", feature = "listener")),
        allow(dead_code, reason = "for those who answer in DNS records")
    )]
    pub(crate) fn alias(&self, question: &str) -> Option<String> {
        if self.via != Via::SearchDomain {
            return None;
        }
        let known = self.known(question)?;
        match self.star {
            NO_STAR => Some(known),
            star => Some(format!("*{}", known.get(usize::from(star) + 1..)?)),
        }
    }

    /// The question without the search domain, where that was cut off, in lower case.
    pub(crate) fn known(&self, question: &str) -> Option<String> {
        question.get(..self.known_len.into()).map(str::to_ascii_lowercase)
    }
}

/// The answer of the table to a question, `None` for a name it does not know.
#[inline]
pub(crate) fn lookup<'a>(table: &'a NameTable, scope: &Scope, question: &str) -> Option<Answer<'a>> {
    match exact(table, question) {
        Some(entry) => Some(Answer::exact(entry, question)),
        None => lookup_further(table, scope, question),
    }
}

/// The entry of a question that is in the form of the table already: most are, and neither their case nor anything else
/// is looked at.
///
/// In the caller's code, always: what the processor begins of the next lookup while this one waits for memory is bounded by
/// the instructions in between.
#[inline(always)]
pub(crate) fn exact<'a>(table: &'a NameTable, question: &str) -> Option<NameEntry<'a>> {
    let plain = question.strip_suffix('.').unwrap_or(question);
    table.get(plain).filter(|_| !plain.is_empty())
}

/// The same, for a question that is not a name of the table as it stands.
#[inline(never)]
pub(crate) fn lookup_further<'a>(table: &'a NameTable, scope: &Scope, question: &str) -> Option<Answer<'a>> {
    let mut buffer = NameBuffer::new();
    let name = buffer.fold(question)?;
    let by_name = known(scope, name, |name| match table.get(name) {
        Some(entry) => Some((entry, Via::Exact)),
        None => alternate(table, scope, name).map(|entry| (entry, Via::Alternate)),
    });
    by_name.or_else(|| wildcard(table, scope, name))
}

/// The answer to a name in table form, `find` being who knows names: as it is, or with the search domain behind it.
fn known<'a>(
    scope: &Scope,
    name: &str,
    find: impl Fn(&str) -> Option<(NameEntry<'a>, Via)>,
) -> Option<Answer<'a>> {
    if let Some((entry, via)) = find(name) {
        return Some(Answer::new(entry, via, name));
    }
    let searched = scope.search_domain();
    let short = strip_suffix(name, searched)?;
    if short == searched || strip_suffix(short, searched).is_some() {
        return None;
    }
    let (entry, _) = find(short)?;
    Some(Answer::new(entry, Via::SearchDomain, short))
}

/// The Kubernetes entry that has this short name: `short.ns`, `short.ns.svc`, or `short` in the own namespace.
fn alternate<'a>(table: &'a NameTable, scope: &Scope, name: &str) -> Option<NameEntry<'a>> {
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

/// The Kubernetes service of one's own cluster domain. Short names of pods contain a dot: `mysql-0.mysql`.
fn service<'a>(table: &'a NameTable, scope: &Scope, short: &str, namespace: &str) -> Option<NameEntry<'a>> {
    if short.is_empty() || namespace.is_empty() {
        return None;
    }
    let mut buffer = NameBuffer::new();
    let entry = table.get(buffer.join(&[short, namespace, scope.domain()])?)?;
    (entry.service() == (short, namespace, Registry::Kubernetes)).then_some(entry)
}

/// The answer of the most specific wildcard that covers the name. No short name is a wildcard.
fn wildcard<'a>(table: &'a NameTable, scope: &Scope, name: &str) -> Option<Answer<'a>> {
    let mut buffer = NameBuffer::new();
    buffer.join(&[name])?;
    for (dot, _) in name.match_indices('.') {
        let star = dot.checked_sub(1)?;
        let find = |pattern: &str| Some((table.get(pattern)?, Via::Wildcard));
        if let Some(answer) = known(scope, buffer.wildcard(star)?, find) {
            let star = u8::try_from(star).ok()?;
            return Some(Answer { known_len: star.saturating_add(answer.known_len), star, ..answer });
        }
    }
    None
}

/// The name without `.suffix`, if it ends so. No name ends with the empty suffix.
fn strip_suffix<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    name.strip_suffix(suffix).filter(|_| !suffix.is_empty())?.strip_suffix('.')
}

#[cfg(test)]
mod tests;
