//! Looks up one name: the `hosts` file, then the servers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use futures_util::future;
use hickory_resolver::{
    Hosts, lookup,
    proto::{
        op::{Edns, Message, Query, ResponseCode},
        rr::{Name, RecordType},
    },
};

use super::{
    Upstream,
    ask::{Asker, Response},
    config::Unusable,
    exchange::{Exchange, Transport},
    failure::{Failure, NoAnswer},
    found::{self, Found},
    options::Effective,
    own::Own,
};
use crate::{
    answer::{Lookup, Source},
    dns::EDNS_UDP_SIZE,
    error::Error,
    name::NameBuffer,
    scope::is_under,
};

/// Upstream DNS with one version of the host's files.
pub(crate) struct State {
    dns: Result<Dns, Unusable>,
    hosts: Hosts,
}

#[derive(Clone)]
struct Dns {
    effective: Effective,
    asker: Arc<Asker>,
}

impl State {
    /// Reads the host's files. `before` is the state to replace. If the options are unchanged, the new state keeps
    /// its cache.
    ///
    /// # Errors
    ///
    /// `Config`: the settings are invalid. An unusable configuration of the host is not an error here; each query
    /// reports it.
    pub(super) fn new(upstream: &Upstream, own: &Arc<Own>, before: Option<&Self>) -> Result<Self, Error> {
        let hosts = upstream.hosts()?;
        let effective = match upstream.effective()? {
            Ok(effective) => effective,
            Err(unusable) => {
                tracing::warn!(error = %unusable, "the host has no usable upstream DNS: only mesh names can be resolved");
                return Ok(Self { dns: Err(unusable), hosts });
            }
        };
        let before = before.and_then(|before| before.dns.as_ref().ok());
        let dns = match before.filter(|before| before.effective == effective) {
            Some(same) => same.clone(),
            None => {
                let exchange = Exchange::new(&effective, own.clone());
                Dns { asker: Arc::new(Asker::new(exchange, upstream.stale)), effective }
            }
        };
        Ok(Self { dns: Ok(dns), hosts })
    }

    /// Whether the host's configuration is usable.
    pub(super) fn is_usable(&self) -> bool {
        self.dns.is_ok()
    }

    /// Returns the client for whole messages.
    #[cfg(any(feature = "hickory", feature = "listener"))]
    pub(crate) fn asker(&self) -> Result<&Arc<Asker>, &Unusable> {
        self.dns.as_ref().map(|dns| &dns.asker)
    }

    /// Returns the number of dots from which a name is tried unchanged before the search list.
    pub(crate) fn ndots(&self) -> usize {
        self.dns.as_ref().map_or(1, |dns| dns.effective.ndots)
    }

    /// Returns the search list, in lower case and without trailing dots.
    pub(crate) fn search(&self) -> &[String] {
        self.dns.as_ref().map(|dns| &*dns.effective.search).unwrap_or_default()
    }

    /// Returns the names to try for `host`, in order (resolv.conf(5), `ndots` and `search`).
    pub(crate) fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') || is_localhost(host) {
            return vec![host.to_owned()];
        }
        let mut buffer = NameBuffer::new();
        let mut names: Vec<_> = self
            .search()
            .iter()
            .filter_map(|domain| buffer.join(&[host, domain]).map(ToOwned::to_owned))
            .collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let place = if dots >= self.ndots() { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }

    /// Looks a name up in the `hosts` file. `localhost` always has an answer.
    pub(crate) fn hosts_answer(&self, host: &str) -> Option<Lookup> {
        let name = absolute(host)?;
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            found.extend(lookup.iter().flat_map(addresses));
        }
        if found.is_empty() && is_localhost(host) {
            found.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let found = Some(found).filter(|found| !found.is_empty())?;
        Some(Lookup::new(found.into_iter().collect(), &text(&name), Source::Hosts, Duration::ZERO))
    }

    /// Queries the servers for both families of exactly this name.
    pub(crate) async fn query(&self, host: &str) -> Result<Lookup, Failure> {
        let dns = self.dns.as_ref().map_err(|unusable| Failure::Unusable(unusable.clone()))?;
        let name = absolute(host).ok_or(Failure::Invalid)?;
        let v4 = dns.addresses(&name, RecordType::A);
        let Found { ips, owner, ttl, stale } = match dns.effective.no_aaaa {
            true => v4.await?,
            false => match future::join(v4, dns.addresses(&name, RecordType::AAAA)).await {
                (Ok(v4), Ok(v6)) => v4.and(v6),
                (Ok(found), Err(_)) | (Err(_), Ok(found)) => found,
                (Err(v4), Err(v6)) => return Err(v4.or(v6)),
            },
        };
        let source = stale.map_or(Source::Upstream, |age| Source::Stale { age });
        Ok(Lookup::new(ips.into_iter().collect(), &text(&owner), source, ttl))
    }
}

impl Dns {
    /// Queries one family. A server without EDNS support is queried again without EDNS, as in glibc (RFC 6891 §7).
    async fn addresses(&self, name: &Name, kind: RecordType) -> Result<Found, Failure> {
        match self.ask(name, kind, self.effective.edns).await {
            Err(Failure::Refused(ResponseCode::FormErr | ResponseCode::NotImp)) if self.effective.edns => {
                self.ask(name, kind, false).await
            }
            outcome => outcome,
        }
    }

    async fn ask(&self, name: &Name, kind: RecordType, edns: bool) -> Result<Found, Failure> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), kind));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_UDP_SIZE).set_version(0);
            message.set_edns(edns);
        }
        let message = message.to_vec().map_err(|_| Failure::Invalid)?;
        let Response { message, stale } = match self.effective.tcp {
            true => self.asker.ask(&message, Transport::Tcp).await,
            false => self.asker.ask_fully(&message).await,
        }
        .map_err(|error| match error {
            NoAnswer::Nobody => Failure::Unknown,
            error => Failure::Unreachable(error),
        })?;
        found::read(&message, name, kind, stale)
    }
}

fn absolute(host: &str) -> Option<Name> {
    let mut name = Name::from_ascii(host).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn addresses(lookup: &lookup::Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

fn text(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

fn is_localhost(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost") || is_under(host, "localhost")
}
