//! Looks up one name with the servers.

use std::sync::Arc;

use futures_util::future;
use hickory_resolver::proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::{
    Upstream,
    addresses::{self, ResolvedAddresses},
    client::{Response, UpstreamClient},
    config::HostConfigError,
    exchange::{Exchange, Transport},
    failure::{Failure, NoAnswer},
    options::ResolverOptions,
    self_addresses::SelfAddresses,
};
use crate::{
    answer::{Lookup, Source},
    dns::EDNS_UDP_SIZE,
    error::Error,
    name::NameBuffer,
    search_scope::is_under,
};

/// Upstream DNS with one version of resolv.conf.
pub(crate) struct UpstreamState {
    dns: Result<Dns, HostConfigError>,
}

#[derive(Clone)]
struct Dns {
    options: ResolverOptions,
    client: Arc<UpstreamClient>,
}

impl UpstreamState {
    /// Reads resolv.conf. `before` is the state to replace. If the options are unchanged, the new state keeps
    /// its cache.
    ///
    /// # Errors
    ///
    /// `Config`: the settings are invalid. An unusable configuration of the host is not an error here; each query
    /// reports it.
    pub(super) fn new(
        upstream: &Upstream,
        self_addresses: &Arc<SelfAddresses>,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let options = match upstream.resolver_options()? {
            Ok(options) => options,
            Err(unusable) => {
                tracing::warn!(error = %unusable, "no usable upstream DNS: only mesh names can be resolved");
                return Ok(Self { dns: Err(unusable) });
            }
        };
        let before = before.and_then(|before| before.dns.as_ref().ok());
        let dns = match before.filter(|before| before.options == options) {
            Some(same) => same.clone(),
            None => {
                let exchange = Exchange::new(&options, self_addresses.clone(), upstream.sockets.clone());
                Dns { client: Arc::new(UpstreamClient::new(exchange, upstream.stale)), options }
            }
        };
        Ok(Self { dns: Ok(dns) })
    }

    /// Whether the host's configuration is usable.
    pub(super) fn is_usable(&self) -> bool {
        self.dns.is_ok()
    }

    /// Returns the client that exchanges whole DNS messages with the servers.
    #[cfg(any(feature = "hickory", feature = "listener"))]
    pub(crate) fn client(&self) -> Result<&Arc<UpstreamClient>, &HostConfigError> {
        self.dns.as_ref().map(|dns| &dns.client)
    }

    /// Returns the minimum number of dots with which a name is tried unchanged before the search list.
    pub(crate) fn ndots(&self) -> usize {
        self.dns.as_ref().map_or(1, |dns| dns.options.ndots)
    }

    /// Returns the search list, in lower case and without trailing dots.
    pub(crate) fn search(&self) -> &[String] {
        self.dns.as_ref().map(|dns| &*dns.options.search).unwrap_or_default()
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

    /// Queries the servers for the IPv4 and IPv6 addresses of exactly this name.
    pub(crate) async fn query(&self, host: &str) -> Result<Lookup, Failure> {
        let dns = self.dns.as_ref().map_err(|unusable| Failure::Unusable(unusable.clone()))?;
        let name = absolute(host).ok_or(Failure::Invalid)?;
        let v4 = dns.addresses(&name, RecordType::A);
        let ResolvedAddresses { ips, owner, ttl, stale } = match dns.options.no_aaaa {
            true => v4.await?,
            false => match future::join(v4, dns.addresses(&name, RecordType::AAAA)).await {
                (Ok(v4), Ok(v6)) => v4.merge(v6),
                (Ok(found), Err(_)) | (Err(_), Ok(found)) => found,
                (Err(v4), Err(v6)) => return Err(v4.or(v6)),
            },
        };
        let source = stale.map_or(Source::Upstream, |age| Source::Stale { age });
        Ok(Lookup::new(ips.into_iter().collect(), &text(&owner), source, ttl))
    }
}

impl Dns {
    /// Queries the servers for the addresses of one family: A or AAAA records. A server without EDNS support is queried
    /// again without EDNS, as in glibc (RFC 6891 §7).
    async fn addresses(&self, name: &Name, kind: RecordType) -> Result<ResolvedAddresses, Failure> {
        match self.query_family(name, kind, self.options.edns).await {
            Err(Failure::Refused(ResponseCode::FormErr | ResponseCode::NotImp)) if self.options.edns => {
                self.query_family(name, kind, false).await
            }
            outcome => outcome,
        }
    }

    async fn query_family(
        &self,
        name: &Name,
        kind: RecordType,
        edns: bool,
    ) -> Result<ResolvedAddresses, Failure> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), kind));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_UDP_SIZE).set_version(0);
            message.set_edns(edns);
        }
        let message = message.to_vec().map_err(|_| Failure::Invalid)?;
        let Response { message, stale } = match self.options.tcp {
            true => self.client.query(&message, Transport::Tcp).await,
            false => self.client.query_with_tcp_fallback(&message).await,
        }
        .map_err(|error| match error {
            NoAnswer::Disabled => Failure::Unknown,
            error => Failure::Unreachable(error),
        })?;
        addresses::read(&message, name, kind, stale)
    }
}

fn absolute(host: &str) -> Option<Name> {
    let mut name = Name::from_ascii(host).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn text(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

pub(super) fn is_localhost(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost") || is_under(host, "localhost")
}
