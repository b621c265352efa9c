//! One question upstream: the `hosts` file, then the servers, through a cache.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future;
use hickory_resolver::{
    Hosts, Resolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup,
    net::NetError,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};

use super::{
    Upstream,
    config::{Effective, Unusable},
    failure::{Failure, worst},
    servers::Servers,
};
use crate::{
    Error, ErrorKind,
    answer::{Ips, Lookup, Source},
    name::NameBuffer,
    scope::is_under,
};

/// Asks upstream DNS, as its settings and the host's files were when it was made.
pub(crate) struct State {
    dns: Result<Dns, Unusable>,
    hosts: Hosts,
    search: Vec<String>,
    ndots: usize,
}

/// The servers, and hickory's resolver over them, which follows aliases and caches.
struct Dns {
    resolver: Resolver<Servers>,
    #[cfg_attr(not(feature = "hickory"), allow(dead_code, reason = "for hickory's own resolver"))]
    servers: Servers,
    #[cfg(all(feature = "listener", unix))]
    raw: Arc<super::Raw>,
}

impl State {
    /// # Errors
    ///
    /// `Config` where the settings cannot be used. A host without usable configuration is no error here, but one at
    /// each question.
    pub(super) fn new(upstream: &Upstream) -> Result<Self, Error> {
        let hosts = upstream.hosts()?;
        let Effective { servers, search, options, rotate } = match upstream.effective()? {
            Ok(effective) => effective,
            Err(unusable) => {
                tracing::warn!(error = %unusable, "no upstream DNS: only mesh names will resolve");
                return Ok(Self { dns: Err(unusable), hosts, search: Vec::new(), ndots: 1 });
            }
        };
        let ndots = options.ndots;
        let dns = Dns::new(servers, options, rotate).map_err(|error| {
            Error::new(ErrorKind::Config, "", "upstream DNS cannot be set up").because_of(error)
        })?;
        Ok(Self { dns: Ok(dns), hosts, search, ndots })
    }

    /// Whether the host's files could be used.
    pub(super) fn is_usable(&self) -> bool {
        self.dns.is_ok()
    }

    /// The servers, for whoever caches and searches by other rules.
    #[cfg(feature = "hickory")]
    pub(crate) fn servers(&self) -> Result<&Servers, &Unusable> {
        self.dns.as_ref().map(|dns| &dns.servers)
    }

    /// The servers, for whole messages.
    #[cfg(all(feature = "listener", unix))]
    pub(crate) fn raw(&self) -> Result<Arc<super::Raw>, Unusable> {
        self.dns.as_ref().map(|dns| dns.raw.clone()).map_err(Clone::clone)
    }

    /// How many dots make a name that is asked for as it is before the search list.
    #[cfg(feature = "hickory")]
    pub(crate) fn ndots(&self) -> usize {
        self.ndots
    }

    /// The search list, lower-case, without trailing dots.
    pub(crate) fn search(&self) -> &[String] {
        &self.search
    }

    /// The names to ask for when a program asks for `host`, in order (resolv.conf(5), `ndots` and `search`).
    pub(crate) fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') || is_localhost(host) {
            return vec![host.to_owned()];
        }
        let mut buffer = NameBuffer::new();
        let mut names: Vec<_> = self
            .search
            .iter()
            .filter_map(|domain| buffer.join(&[host, domain]).map(ToOwned::to_owned))
            .collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }

    /// What the `hosts` file says about a name; `localhost` is always known.
    pub(crate) fn hosts_answer(&self, host: &str) -> Option<Lookup> {
        let name = absolute(host).ok()?;
        let mut found = Ips::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            found.extend(lookup.iter().flat_map(addresses));
        }
        if found.is_empty() && is_localhost(host) {
            found.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        (!found.is_empty()).then(|| Lookup::new(found, canonical(&name), Source::Hosts, Duration::ZERO))
    }

    /// Asks the servers for both families of exactly this name.
    pub(crate) async fn query(&self, host: &str) -> Result<Lookup, Failure> {
        let resolver = match &self.dns {
            Ok(dns) => &dns.resolver,
            Err(unusable) => return Err(Failure::Unusable(unusable.clone())),
        };
        let name = absolute(host).map_err(|_| Failure::Invalid)?;
        let ask = |kind| resolver.lookup(name.clone(), kind);
        let (v4, v6) = future::join(ask(RecordType::A), ask(RecordType::AAAA)).await;
        let answers: Vec<_> = [&v4, &v6].into_iter().flatten().collect();
        let found: Ips = answers.iter().copied().flat_map(addresses).collect();
        if found.is_empty() {
            return Err(worst(v4.err(), v6.err()));
        }
        let valid_until = answers.iter().map(|answer| answer.valid_until()).min();
        let ttl = valid_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let owner = answers.iter().copied().flat_map(owners).next();
        Ok(Lookup::new(found, canonical(owner.unwrap_or(&name)), Source::Upstream, ttl))
    }
}

impl Dns {
    fn new(
        servers: Vec<NameServerConfig>,
        mut options: ResolverOpts,
        rotate: bool,
    ) -> Result<Self, NetError> {
        #[cfg(all(feature = "listener", unix))]
        let raw = Arc::new(super::Raw::new(&servers, &options, rotate));
        let servers = Servers::new(servers, &options, rotate)?;
        // `Servers` does the asking and the repeating, whatever server hickory thinks it has.
        options.attempts = 0;
        options.num_concurrent_reqs = 1;
        options.use_hosts_file = ResolveHosts::Never;
        let anywhere = NameServerConfig::udp(Ipv4Addr::UNSPECIFIED.into());
        let config = ResolverConfig::from_name_servers(vec![anywhere]);
        let resolver =
            Resolver::builder_with_config(config, servers.clone()).with_options(options).build()?;
        Ok(Self {
            resolver,
            servers,
            #[cfg(all(feature = "listener", unix))]
            raw,
        })
    }
}

fn absolute(host: &str) -> Result<Name, NetError> {
    let mut name = Name::from_ascii(host)?;
    name.set_fqdn(true);
    Ok(name)
}

fn addresses(lookup: &lookup::Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

fn owners(lookup: &lookup::Lookup) -> impl Iterator<Item = &Name> {
    lookup.answers().iter().filter(|record| record.data.ip_addr().is_some()).map(|record| &record.name)
}

fn canonical(name: &Name) -> Arc<str> {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).into()
}

fn is_localhost(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost") || is_under(host, "localhost")
}
