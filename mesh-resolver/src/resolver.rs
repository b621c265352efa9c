//! The resolver: the name table first, then upstream DNS.

mod external;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use nds_client::NdsClient;

use crate::{
    answer::{Addresses, Ips, Lookup, Source},
    error::Error,
    host,
    lookup::{Answer, MESH_TTL, MatchKind},
    names::{NameSource, NameTableRef, NotMesh},
    observe,
    reverse_index::ReverseIndex,
    search_scope::SearchScope,
    upstream::ReloadingUpstream,
};

/// Resolves mesh names from istiod's name table and all other names through upstream DNS.
///
/// Clones are cheap handles to the same resolver. A resolver that is created from an [`NdsClient`] keeps the client
/// alive.
///
/// The addresses of mesh names are those of istiod's table. Dialling one directly bypasses the mesh: see [Raw
/// addresses](crate#raw-addresses).
///
/// # Names
///
/// A name is a host name in any case, with or without a trailing dot, or an address literal; an IPv6 literal may be
/// in brackets. An internationalised name may be in Unicode. It is converted to ASCII (`xn--…`), like in URLs and in
/// `getaddrinfo` with `AI_IDN`.
///
/// # Methods
///
/// Every lookup classifies the name once, against the current name table: an address literal, a mesh name, a name
/// that may be in a table that has not arrived yet, or a name for upstream DNS. The methods differ in their sources
/// and results:
///
/// | method | sources | result |
/// |---|---|---|
/// | [`lookup_ip`](Self::lookup_ip) | all, with the host's search list | a [`Lookup`]: addresses, canonical name, source, TTL |
/// | [`try_lookup_ip`](Self::try_lookup_ip) | the name table, without waiting | a [`Lookup`], for callers without a runtime |
/// | [`try_lookup`](Self::try_lookup) | the name table, without waiting | only the [`Addresses`]; the fastest lookup |
/// | [`canonical_name`](Self::canonical_name) | the name table, without waiting | the canonical name, for routing by name |
///
/// [`NdsClient::names`] gives access to the entries of the table, without short names, wildcards and address
/// policies.
///
/// # Example
///
/// ```
/// use mesh_resolver::{MeshResolver, SearchScope, Upstream};
/// use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mesh_resolver::Error> {
/// let names = WatchSender::new(NameTable::default());
/// let health = WatchSender::new(Health::default());
/// let scope = SearchScope::new("vms", "svc.cluster.local");
/// let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
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
    pub(crate) upstream: ReloadingUpstream,
    pub(crate) reverse_index: ReverseIndex,
    /// Keeps the client alive that updates `mesh`.
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

    /// Returns the addresses of a mesh name from the current name table. The method is wait-free, and does not allocate
    /// for up to eight addresses.
    ///
    /// Returns `None` for a name that the table does not contain, and for every name before the first table. The
    /// method does not accept address literals, does not use the search list, and does not affect
    /// [`last_resolved`](Self::last_resolved).
    // Always inlined: see `NameSource::lookup_single`.
    #[must_use]
    #[inline(always)]
    pub fn try_lookup(&self, name: &str) -> Option<Addresses> {
        match self.0.mesh.lookup_single(name) {
            Ok(address) => Some(Addresses::single(address)),
            Err(names) => lookup_addresses(names, name),
        }
    }

    /// Returns the result of [`lookup_ip`](Self::lookup_ip) for a mesh name immediately, without a future and on any
    /// thread. The method does not allocate for a name with one address. [`last_resolved`](Self::last_resolved) takes
    /// the result into account.
    ///
    /// Returns `None` for address literals and for all names that need another source than the name table.
    #[must_use]
    pub fn try_lookup_ip(&self, name: &str) -> Option<Lookup> {
        match self.0.mesh.lookup_single(name) {
            Ok(address) => Some(self.0.single_answer(name, address)),
            Err(names) => self.0.mesh_answer(names, name).ok(),
        }
    }

    /// Resolves a name to its addresses, using all sources.
    ///
    /// Address literals resolve to themselves. For other names, the sources are tried in this order: the name table,
    /// the `hosts` file, upstream DNS. The host's search list completes names as in the system resolver. Each
    /// completed name is looked up in the name table before it is sent upstream.
    ///
    /// Before the first name table, names that are not in the `hosts` file are resolved as follows:
    ///
    /// * The name of istiod goes upstream, and only upstream, because the client needs it to receive the table.
    /// * Names in a domain that only the mesh has wait for the table, up to
    ///   [`with_first_table_timeout`](crate::MeshResolverBuilder::with_first_table_timeout): names in the cluster's
    ///   domain (`.cluster.local`), in `.svc`, and in `.clusterset.local`. Names with one or two labels wait too,
    ///   because they may be short names, such as `forecast.weather`. After the timeout the lookup fails with
    ///   `NotReady`, because an upstream answer could come from anybody.
    ///   [`with_short_names_before_first_table`](crate::Upstream::with_short_names_before_first_table) sends names with
    ///   one or two labels upstream immediately.
    /// * All other names go upstream immediately, and a positive upstream answer is the result. Without one, the
    ///   lookup waits for the table, because the name may be the host of a ServiceEntry.
    ///
    /// A table from the state directory is a first table: its names are answered from it.
    ///
    /// # Errors
    ///
    /// * [`InvalidName`](crate::ErrorKind::InvalidName): the text is not a host name.
    /// * [`NameNotFound`](crate::ErrorKind::NameNotFound): the name exists neither in the mesh nor upstream.
    /// * [`NoRecords`](crate::ErrorKind::NoRecords): the name exists upstream, but has no address.
    /// * [`NoLocalAddress`](crate::ErrorKind::NoLocalAddress): the name is a mesh name, and
    ///   [`LocalAddresses`](crate::LocalAddresses) has no loopback address for it. The source is the reason.
    /// * [`NotReady`](crate::ErrorKind::NotReady): istiod did not send a table in time. The source is the last error
    ///   of the client.
    /// * [`Timeout`](crate::ErrorKind::Timeout), [`Upstream`](crate::ErrorKind::Upstream),
    ///   [`LocalResource`](crate::ErrorKind::LocalResource), [`Config`](crate::ErrorKind::Config): the name is not a
    ///   mesh name, and upstream DNS did not answer, failed, could not be queried, or is not configured. Mesh names do
    ///   not fail with these errors.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the lookup and has no other effect.
    pub async fn lookup_ip(&self, name: &str) -> Result<Lookup, Error> {
        let class = match self.0.mesh.lookup_single(name) {
            Ok(address) => return Ok(self.0.single_answer(name, address)),
            Err(names) => match self.0.mesh_answer(names, name) {
                Ok(found) => return Ok(found),
                Err(class) => class,
            },
        };
        self.0.lookup_outside_table(name, class).await
    }

    /// Returns the canonical name of a mesh service, or `None` for a name that the table does not contain. For example,
    /// `forecast.weather` is `forecast.weather.svc.cluster.local`. istiod uses the canonical name of a service in the
    /// names of its clusters.
    ///
    /// A name with fewer dots than `ndots` is also tried with the host's first search domain, like in
    /// [`lookup_ip`](Self::lookup_ip).
    #[must_use]
    pub fn canonical_name(&self, name: &str) -> Option<String> {
        let (names, name) = (self.0.mesh.load(), host::ascii(name));
        let answer = names.lookup(&name).or_else(|| {
            let first = self.0.upstream.state().candidates(&name).into_iter().next()?;
            (first != name).then(|| names.lookup(&first)).flatten()
        });
        answer.map(|answer| answer.name().to_owned())
    }

    /// Returns the host of the ServiceEntry that has exactly this name, but is not found, because `name` is also a
    /// short name of a Kubernetes service. `None` if there is no such ServiceEntry.
    #[must_use]
    pub fn shadowed_name(&self, name: &str) -> Option<String> {
        self.0.mesh.load().shadowed(&host::ascii(name)).map(ToOwned::to_owned)
    }

    /// Returns whether a name belongs to the mesh, or has belonged to it: it is in a domain of the mesh
    /// ([`SearchScope::claims`]), or it is or was a name of the name table, in this process or in the snapshot from
    /// which this process started. Short names, wildcards and the host's search list count.
    ///
    /// A program that sends data in plaintext to names outside the mesh uses this method to find out whether a name may
    /// have been removed from the mesh. The client remembers about 65 000 removed names.
    #[must_use]
    pub fn is_mesh_name(&self, name: &str) -> bool {
        let name = host::ascii(name);
        if host::address(&name).is_some() {
            return false;
        }
        let names = self.0.mesh.load();
        self.0.mesh.scope.claims(&name)
            || names.was_listed(&name)
            || self.0.upstream.state().candidates(&name).iter().any(|completed| names.was_listed(completed))
    }

    /// Returns the mesh name that this process last resolved to an address. Returns `None` if no mesh name was
    /// resolved to it, or if too many addresses were resolved since; the resolver remembers a few thousand addresses.
    ///
    /// Mesh addresses are ambiguous, because several clusters may assign the same ClusterIP. For a caller that
    /// resolves a name and dials its address later, the result is the name that it resolved.
    #[must_use]
    pub fn last_resolved(&self, address: IpAddr) -> Option<String> {
        self.0.reverse_index.name(address.to_canonical()).map(|name| name.as_ref().to_owned())
    }

    /// Returns the search scope, by which short names are completed.
    #[must_use]
    pub fn search_scope(&self) -> &SearchScope {
        &self.0.mesh.scope
    }
}

/// Returns the addresses of a name that `NameSource::lookup_single` does not cover.
#[inline(never)]
#[allow(clippy::needless_pass_by_value, reason = "the caller has no use for the table afterwards")]
fn lookup_addresses(names: NameTableRef<'_>, name: &str) -> Option<Addresses> {
    names.classify(name).ok().map(|answer| Addresses::from_answer(&answer))
}

impl Inner {
    /// Builds the answer for the most frequent case and records it in the reverse index.
    #[inline]
    fn single_answer(&self, name: &str, address: Ipv4Addr) -> Lookup {
        let canonical = name.strip_suffix('.').unwrap_or(name);
        let ips = Ips::One([address.into()]);
        let found = self.build_answer(ips, canonical, MatchKind::Exact, MESH_TTL);
        observe::found(name, &found);
        found
    }

    /// Looks up a mesh name that `NameSource::lookup_single` does not cover.
    #[inline(never)]
    #[allow(clippy::needless_pass_by_value, reason = "the caller has no use for the table afterwards")]
    fn mesh_answer(&self, names: NameTableRef<'_>, name: &str) -> Result<Lookup, NotMesh> {
        let found = names.classify(name).map(|answer| self.answer_from_table(&answer))?;
        observe::found(name, &found);
        Ok(found)
    }

    fn answer_from_table(&self, answer: &Answer<'_>) -> Lookup {
        let ips = Ips::shuffled(answer.ipv4(), answer.ipv6());
        self.build_answer(ips, answer.name(), answer.match_kind(), answer.ttl())
    }

    /// Builds an answer from the name table and records it in the reverse index.
    #[inline]
    fn build_answer(&self, addresses: Ips, canonical: &str, match_kind: MatchKind, ttl: Duration) -> Lookup {
        self.reverse_index.record(canonical, &addresses);
        let source = Source::Mesh { match_kind, state: self.mesh.sync_state() };
        Lookup::new(addresses, canonical, source, ttl)
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
