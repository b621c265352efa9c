//! The resolver: the table first, upstream DNS second.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use nds_client::{Health, NameTable, NdsClient, Ref, SyncState, Watch};

use crate::{
    Error, MeshResolverBuilder, Scope,
    answer::{Addresses, Ips, Lookup, MESH_TTL, Source, shuffled},
    currency::Currency,
    host,
    lookup::{Answer, Via, exact, lookup},
    mode::{Given, Mode},
    observe,
    recent::Recent,
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
/// # Example
///
/// ```
/// use mesh_resolver::{MeshResolver, Scope, Upstream};
/// use nds_client::{Health, NameTable, WatchSender};
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
    pub(crate) names: Watch<NameTable>,
    pub(crate) currency: Currency,
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) upstream: Client,
    pub(crate) first_table_timeout: Duration,
    pub(crate) recent: Recent,
    /// Keeps what feeds `names` alive.
    pub(crate) _client: Option<NdsClient>,
}

impl MeshResolver {
    /// A resolver over the names of a client, seen from where the client's configuration says it is, with the
    /// host's own DNS upstream, for a program that dials the addresses itself: hosts outside the mesh that have only a
    /// virtual address there get upstream's answer
    /// ([`with_upstream_for_external`](MeshResolverBuilder::with_upstream_for_external)). The resolver keeps the client
    /// alive.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where upstream DNS cannot be set up. A host without a usable
    /// resolv.conf is no error here; see [`Upstream::system`](crate::Upstream::system).
    pub fn new(client: &NdsClient) -> Result<Self, Error> {
        Self::builder_for(client).with_upstream_for_external().build()
    }

    /// Starts a resolver over the names of a client, to be set up further. It gives out what the table says, as a
    /// connector needs it that dials virtual addresses.
    pub fn builder_for(client: &NdsClient) -> MeshResolverBuilder {
        let config = client.config();
        let scope = Scope::new(config.namespace(), config.dns_domain());
        Self::builder(client.names().clone(), client.health().clone(), scope).with_client(client.clone())
    }

    /// Starts a resolver over any name table that is kept current.
    pub fn builder(names: Watch<NameTable>, health: Watch<Health>, scope: Scope) -> MeshResolverBuilder {
        MeshResolverBuilder::new(names, health, scope)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The current table, to look names up in. Wait-free, without allocation.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        Names { table: self.0.names.load(), scope: &self.0.scope, mode: &self.0.mode }
    }

    /// The addresses that the mesh has for a name, from the current table alone: at once, wait-free, without
    /// allocation (for up to eight addresses; see [`names`](Self::names) for a look that never allocates).
    ///
    /// `None` for a name that the table does not know, and for everything before the first table. Neither address
    /// literals nor the search list are considered, and [`last_resolved`](Self::last_resolved) learns nothing.
    // Always: see `lookup::exact`. What is not usual is a function of its own.
    #[must_use]
    #[inline(always)]
    pub fn try_lookup(&self, name: &str) -> Option<Addresses> {
        let table = self.0.names.load();
        match only(&table, &self.0.mode, name) {
            Some(ip) => Some(Addresses::only(ip)),
            None => Names { table, scope: &self.0.scope, mode: &self.0.mode }.addresses(name),
        }
    }

    /// The canonical name of a mesh service, `None` for a name that the table does not know: `forecast.weather` is
    /// `forecast.weather.svc.cluster.local`. Under the canonical name istiod knows the clusters of the service.
    ///
    /// A name with fewer dots than `ndots` is also tried with the host's first search domain, as
    /// [`lookup_ip`](Self::lookup_ip) does.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<String> {
        let (names, name) = (self.names(), host::ascii(name));
        if let Some(answer) = names.lookup(&name) {
            return Some(answer.name().to_owned());
        }
        let first = self.0.upstream.state().candidates(&name).into_iter().next()?;
        names.lookup(&first).map(|answer| answer.name().to_owned())
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
        &self.0.scope
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
    ///   ([`with_first_table_timeout`](MeshResolverBuilder::with_first_table_timeout)): what ends in the cluster's
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
        if let Some(found) = self.usual_answer(name) {
            observe::found(name, &found);
            return Ok(found);
        }
        // On the heap: whoever asks for a mesh name does not carry the room for asking others around.
        let start = Instant::now();
        let outcome = Box::pin(self.look_up(name)).await;
        observe::looked_up(name, start.elapsed(), &outcome);
        outcome
    }

    /// What [`lookup_ip`](Self::lookup_ip) says of a name that the table has, without a future: at once, on any thread,
    /// and without allocation (as [`try_lookup`](Self::try_lookup)). [`last_resolved`](Self::last_resolved) learns of it.
    ///
    /// `None` for everything that somebody else would be asked for, and for address literals.
    #[must_use]
    pub fn try_lookup_ip(&self, name: &str) -> Option<Lookup> {
        let found = self.usual_answer(name).or_else(|| {
            let of_table = || self.mesh_answer(&host::ascii(name));
            host::address(name).is_none().then(of_table).flatten()
        })?;
        observe::found(name, &found);
        Some(found)
    }

    /// The table's answer to a name as it stands with one address: nearly every lookup.
    #[inline]
    fn usual_answer(&self, name: &str) -> Option<Lookup> {
        let ip = only(&self.0.names.load(), &self.0.mode, name)?;
        let addresses = Ips::One([IpAddr::V4(ip)]);
        Some(self.of_the_mesh(addresses, name.strip_suffix('.').unwrap_or(name), Via::Exact))
    }

    /// Whether there is a table: what it does not have, the mesh does not know.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.currency.state() != SyncState::Connecting || !self.0.names.load().is_empty()
    }

    /// The table's answer, remembered for whoever dials the addresses.
    pub(crate) fn mesh_answer(&self, name: &str) -> Option<Lookup> {
        let names = self.names();
        let given = names.given(name)?;
        let answer = &given.answer;
        Some(self.of_the_mesh(shuffled(&given), answer.name(), answer.via()))
    }

    #[inline]
    fn of_the_mesh(&self, addresses: Ips, canonical: &str, via: Via) -> Lookup {
        self.0.recent.record(canonical, &addresses);
        let source = Source::Mesh { via, state: self.0.currency.state() };
        Lookup::new(addresses, canonical, source, MESH_TTL)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for MeshResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshResolver")
            .field("names", &self.0.names.load().len())
            .field("scope", &self.0.scope)
            .finish_non_exhaustive()
    }
}

/// A table and the scope to read it from, for a look that ends soon.
pub struct Names<'r> {
    table: Ref<'r, NameTable>,
    scope: &'r Scope,
    mode: &'r Mode,
}

impl Names<'_> {
    /// What the table says about a name; `None` for a name it does not know. Pure, without allocation. It is istiod's
    /// answer, whatever the resolver was told to give out instead.
    ///
    /// Any DNS question for an A or AAAA record can be looked up: in any case, with or without a trailing dot, with
    /// or without the first search domain behind it.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<Answer<'_>> {
        lookup(&self.table, self.scope, name)
    }

    /// All that is given out for a name.
    #[inline(never)]
    fn addresses(&self, name: &str) -> Option<Addresses> {
        self.given(&host::ascii(name)).as_ref().map(Addresses::of)
    }

    /// What is given out of it; `None` also for what upstream DNS answers instead.
    #[inline]
    pub(crate) fn given(&self, name: &str) -> Option<Given<'_>> {
        self.mode.give(self.lookup(name)?, name)
    }

    /// The table itself.
    #[must_use]
    pub fn table(&self) -> &NameTable {
        &self.table
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("table", &*self.table).field("scope", self.scope).finish()
    }
}

/// The address of a name that is asked for as it stands in the table, where there is only one: nearly every lookup.
/// `None` for whatever else there may be.
#[inline(always)]
fn only(table: &NameTable, mode: &Mode, name: &str) -> Option<Ipv4Addr> {
    let entry = exact(table, name)?;
    match (entry.ipv4(), entry.ipv6()) {
        ([only], []) if mode.keeps(*only) => Some(*only),
        _ => None,
    }
}
