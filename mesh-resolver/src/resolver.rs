//! The resolver: the table first, upstream DNS second.

mod external;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use nds_client::NdsClient;

use crate::{
    answer::{Addresses, Ips, Lookup, MESH_TTL, Source},
    error::Error,
    host,
    lookup::{Answer, Via},
    names::{NameSource, Names, NotMesh},
    observe,
    recent::Recent,
    scope::Scope,
    upstream::Client,
};

/// Resolves names as a program in the mesh expects: istiod's names from the table in this process, all others
/// through upstream DNS.
///
/// Clones are cheap and share everything. A resolver made from an [`NdsClient`] keeps that client alive.
///
/// # Names
///
/// A host name in any case, with or without a trailing dot; an address literal, IPv6 also in brackets. An
/// internationalised name may be in Unicode: it is asked for in its ASCII form (`xn--…`), as by `getaddrinfo` with
/// `AI_IDN` and in URLs.
///
/// # Methods
///
/// Every lookup classifies the name once, against the table of that moment: an address literal, a mesh name, a name that may be
/// in a table that has not come yet, or a name for upstream DNS. The methods differ in the sources and in the result:
///
/// | method | sources | result |
/// |---|---|---|
/// | [`lookup_ip`](Self::lookup_ip) | all, with the host's search list | a [`Lookup`]: addresses, canonical name, source, lifetime |
/// | [`try_lookup_ip`](Self::try_lookup_ip) | the name table, without waiting | the same [`Lookup`]; for callers without a runtime |
/// | [`try_lookup`](Self::try_lookup) | the name table, without waiting | the [`Addresses`] alone, in half the time |
/// | [`resolve`](Self::resolve) | the name table, without waiting | the canonical name, for routing by name |
///
/// The entries of the table, before short names, wildcards and the answer mode, are [`NdsClient::names`].
///
/// # Example
///
/// ```
/// use mesh_resolver::{MeshResolver, Scope, Upstream};
/// use nds_client::{health::Health, watch::WatchSender, resources::name_table::NameTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mesh_resolver::Error> {
/// let names = WatchSender::new(NameTable::default());
/// let health = WatchSender::new(Health::default());
/// let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), Scope::new("vms", "svc.cluster.local"))
///     .with_upstream(Upstream::none())
///     .build()?;
/// let answer = resolver.lookup_ip("192.0.2.1").await?;
/// assert_eq!(answer.addresses(), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MeshResolver(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) mesh: NameSource,
    pub(crate) upstream: Client,
    pub(crate) recent: Recent,
    /// Keeps what feeds `mesh` alive.
    pub(crate) _client: Option<NdsClient>,
}

impl MeshResolver {
    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    #[cfg_attr(
        not(any(feature = "hickory", feature = "listener", feature = "tonic")),
        allow(dead_code, reason = "for adapters")
    )]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The addresses that the mesh has for a name, from the current table alone: at once, wait-free, without
    /// allocation for up to eight addresses.
    ///
    /// `None` for a name that the table does not know, and for everything before the first table. Neither address
    /// literals nor the search list are considered, and [`last_resolved`](Self::last_resolved) learns nothing.
    // Always: see `NameSource::usual`.
    #[must_use]
    #[inline(always)]
    pub fn try_lookup(&self, name: &str) -> Option<Addresses> {
        match self.0.mesh.usual(name) {
            Ok(address) => Some(Addresses::only(address)),
            Err(names) => addresses(names, name),
        }
    }

    /// What [`lookup_ip`](Self::lookup_ip) says of a name that the table has, without a future: at once, on any thread,
    /// and without allocation where there is one address. [`last_resolved`](Self::last_resolved) learns of it.
    ///
    /// `None` for everything that somebody else would be asked for, and for address literals.
    #[must_use]
    pub fn try_lookup_ip(&self, name: &str) -> Option<Lookup> {
        match self.0.mesh.usual(name) {
            Ok(address) => Some(self.0.found_usual(name, address)),
            Err(names) => self.0.found(names, name).ok(),
        }
    }

    /// The addresses of a name, whoever knows them.
    ///
    /// In this order: an address literal is itself; the mesh's table; the `hosts` file; upstream DNS. A name is
    /// completed by the host's search list as the system does it, and each completed name is looked up in the table
    /// before upstream is asked for it.
    ///
    /// Before the first table, where the `hosts` file does not know the name:
    ///
    /// * names that only the mesh can know wait for it, bounded
    ///   ([`with_first_table_timeout`](crate::MeshResolverBuilder::with_first_table_timeout)): what ends in the cluster's
    ///   domain (`.cluster.local`), in `.svc`, or in `.clusterset.local`;
    /// * all others go upstream at once, and an answer from there is the answer. Only where upstream knows no
    ///   address is the table waited for, because the name may be the mesh's: `forecast.weather`, or the host of a
    ///   ServiceEntry.
    ///
    /// # Errors
    ///
    /// * [`InvalidName`](crate::ErrorKind::InvalidName): this is no host name.
    /// * [`NameNotFound`](crate::ErrorKind::NameNotFound), [`NoRecords`](crate::ErrorKind::NoRecords): neither the
    ///   mesh nor upstream knows the name, or upstream knows no address of it.
    /// * [`NotReady`](crate::ErrorKind::NotReady): istiod did not send a table in time; the cause is its last error.
    /// * [`Timeout`](crate::ErrorKind::Timeout), [`Upstream`](crate::ErrorKind::Upstream),
    ///   [`Config`](crate::ErrorKind::Config): the mesh does not know the name, and upstream DNS did not answer,
    ///   failed, or is not configured. Names of the mesh never fail so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the lookup and nothing else.
    pub async fn lookup_ip(&self, name: &str) -> Result<Lookup, Error> {
        let class = match self.0.mesh.usual(name) {
            Ok(address) => return Ok(self.0.found_usual(name, address)),
            Err(names) => match self.0.found(names, name) {
                Ok(found) => return Ok(found),
                Err(class) => class,
            },
        };
        self.0.elsewhere(name, class).await
    }

    /// The canonical name of a mesh service, `None` for a name that the table does not know: `forecast.weather` is
    /// `forecast.weather.svc.cluster.local`. Under the canonical name istiod knows the clusters of the service.
    ///
    /// A name with fewer dots than `ndots` is also tried with the host's first search domain, as
    /// [`lookup_ip`](Self::lookup_ip) does.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<String> {
        let (names, name) = (self.0.mesh.load(), host::ascii(name));
        let answer = names.lookup(&name).or_else(|| {
            let first = self.0.upstream.state().candidates(&name).into_iter().next()?;
            (first != name).then(|| names.lookup(&first)).flatten()
        });
        answer.map(|answer| answer.name().to_owned())
    }

    /// The mesh name that this process last resolved to an address, `None` for an address that it resolved from no
    /// mesh name, or too long ago: the last few thousand addresses are remembered.
    ///
    /// Addresses of the mesh are ambiguous, because clusters give out the same ClusterIPs. For a caller who resolves
    /// first and dials the address later, this is the name that was meant.
    #[must_use]
    pub fn last_resolved(&self, address: IpAddr) -> Option<String> {
        self.0.recent.name(address.to_canonical()).map(|name| name.as_ref().to_owned())
    }

    /// From where names are read.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.mesh.scope
    }
}

/// All addresses of a name that is not usual.
#[inline(never)]
#[allow(clippy::needless_pass_by_value, reason = "nothing is left to do for the caller")]
fn addresses(names: Names<'_>, name: &str) -> Option<Addresses> {
    names.local(name).ok().map(|answer| Addresses::of(&answer))
}

impl Inner {
    /// The mesh's answer to a usual name, remembered for whoever dials the address.
    #[inline]
    fn found_usual(&self, name: &str, address: Ipv4Addr) -> Lookup {
        let canonical = name.strip_suffix('.').unwrap_or(name);
        let found = self.given(Ips::One([address.into()]), canonical, Via::Exact);
        observe::found(name, &found);
        found
    }

    /// The mesh's answer to any other name.
    #[inline(never)]
    #[allow(clippy::needless_pass_by_value, reason = "nothing is left to do for the caller")]
    fn found(&self, names: Names<'_>, name: &str) -> Result<Lookup, NotMesh> {
        let found = names.local(name).map(|answer| self.given_of(&answer))?;
        observe::found(name, &found);
        Ok(found)
    }

    fn given_of(&self, answer: &Answer<'_>) -> Lookup {
        self.given(Ips::shuffled(answer.ipv4(), answer.ipv6()), answer.name(), answer.via())
    }

    /// An answer of the mesh as it is given to a caller, remembered for whoever dials the addresses.
    #[inline]
    fn given(&self, addresses: Ips, canonical: &str, via: Via) -> Lookup {
        self.recent.record(canonical, &addresses);
        let source = Source::Mesh { via, state: self.mesh.sync_state() };
        Lookup::new(addresses, canonical, source, MESH_TTL)
    }
}

impl fmt::Debug for MeshResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshResolver")
            .field("names", &self.0.mesh.names.load().len())
            .field("scope", &self.0.mesh.scope)
            .finish_non_exhaustive()
    }
}
