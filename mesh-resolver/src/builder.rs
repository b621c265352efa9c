//! The builder of a resolver.

use std::{fmt, time::Duration};

use nds_client::{NdsClient, health::Health, resources::name_table::NameTable, watch::Watch};

use crate::{
    error::Error,
    names::{NameSource, SyncWatch},
    policy::{AnswerPolicy, ExternalNames, LocalAddresses},
    resolver::{Inner, MeshResolver},
    reverse_index::ReverseIndex,
    search_scope::SearchScope,
    upstream::{ReloadingUpstream, Upstream},
};

impl MeshResolver {
    /// Creates a resolver for a program that resolves names and dials the addresses itself.
    ///
    /// The resolver reads the name table of `client`, uses the namespace and DNS domain of the client's
    /// configuration, and asks the host's DNS servers for all other names. Hosts outside the mesh whose only address
    /// in the table is virtual are resolved through upstream DNS
    /// ([`with_upstream_for_external_services`](MeshResolverBuilder::with_upstream_for_external_services)). The
    /// resolver keeps the client alive.
    ///
    /// The addresses are those of istiod's table: see the section [Raw addresses](crate#raw-addresses).
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config): the upstream DNS settings are invalid. A host without a usable
    /// resolv.conf is not an error here; see [`Upstream::system`].
    pub fn new(client: &NdsClient) -> Result<Self, Error> {
        Self::builder_for(client).with_upstream_for_external_services().build()
    }

    /// Returns a builder for a resolver that reads the name table of `client`.
    ///
    /// Unless configured otherwise, the resolver returns the addresses of the table unchanged, including virtual
    /// addresses. A mesh connector needs exactly these.
    pub fn builder_for(client: &NdsClient) -> MeshResolverBuilder {
        let config = client.config();
        let scope = SearchScope::new(config.namespace(), config.dns_domain());
        let builder = Self::builder(client.names().clone(), client.health().clone(), scope);
        let builder = builder.with_istiod_hosts(config.istiod_hosts());
        MeshResolverBuilder { client: Some(client.clone()), ..builder }
    }

    /// Returns a builder for a resolver that reads the given name table.
    pub fn builder(
        names: Watch<NameTable>,
        health: Watch<Health>,
        scope: SearchScope,
    ) -> MeshResolverBuilder {
        MeshResolverBuilder {
            names,
            health,
            scope,
            upstream: Upstream::system(),
            first_table_timeout: FIRST_TABLE_TIMEOUT,
            istiod: Vec::new(),
            client: None,
            policy: AnswerPolicy::default(),
        }
    }
}

/// Builds a [`MeshResolver`].
///
/// # Defaults
///
/// * Upstream DNS is [`Upstream::system`].
/// * A lookup waits up to 3 seconds for the first name table. [`MeshResolver::lookup_ip`] describes which names wait.
/// * The search domain of the scope is the first search domain of upstream DNS.
#[must_use = "a builder does nothing until `build` is called"]
pub struct MeshResolverBuilder {
    names: Watch<NameTable>,
    health: Watch<Health>,
    scope: SearchScope,
    upstream: Upstream,
    first_table_timeout: Duration,
    istiod: Vec<String>,
    client: Option<NdsClient>,
    policy: AnswerPolicy,
}

const FIRST_TABLE_TIMEOUT: Duration = Duration::from_secs(3);

impl MeshResolverBuilder {
    /// Sets the upstream DNS that resolves names outside the mesh.
    pub fn with_upstream(self, upstream: Upstream) -> Self {
        Self { upstream, ..self }
    }

    /// Sets the maximum time that a lookup waits for the first name table. Zero disables the wait.
    pub fn with_first_table_timeout(self, timeout: Duration) -> Self {
        Self { first_table_timeout: timeout, ..self }
    }

    /// Sets the hosts of istiod. Before the first name table, their names are resolved through upstream DNS without
    /// waiting, because the client needs them to receive the table. [`MeshResolver::builder_for`] sets the hosts of the
    /// client's configuration.
    pub fn with_istiod_hosts<H: Into<String>>(self, hosts: impl IntoIterator<Item = H>) -> Self {
        let host = |host: H| host.into().trim_end_matches('.').to_owned();
        Self { istiod: hosts.into_iter().map(host).collect(), ..self }
    }

    /// Sets which mesh names are resolved through upstream DNS instead of the name table: those for which `predicate`
    /// returns true.
    ///
    /// A program that dials addresses itself needs this for hosts outside the mesh: the table may contain only a
    /// virtual address, which only a mesh connector can dial. `predicate` receives the canonical name (`*.x` for a
    /// wildcard entry). The name table does not say which hosts are outside the mesh; istiod's clusters do
    /// (`MESH_EXTERNAL`).
    pub fn with_upstream_for_names(
        mut self,
        predicate: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.policy.external = Some(ExternalNames::Predicate(Box::new(predicate)));
        self
    }

    /// Resolves hosts outside the mesh through upstream DNS instead of returning their virtual addresses. These are
    /// the hosts that istiod's clusters mark as `MESH_EXTERNAL` and whose addresses are all allocated by istiod
    /// (240.240.0.0/16, 2001:2::/48).
    ///
    /// Addresses that a ServiceEntry defines are returned unchanged. The first lookup of such a name subscribes to
    /// istiod's clusters. The setting has an effect only on builders of [`MeshResolver::builder_for`].
    pub fn with_upstream_for_external_services(mut self) -> Self {
        if let Some(client) = &self.client {
            self.policy.external = Some(ExternalNames::Clusters(client.clone()));
        }
        self
    }

    /// Sets the loopback addresses that the resolver returns for mesh names instead of the addresses of the name
    /// table. A listener behind each loopback address must forward connections to the service.
    pub fn with_local_addresses(mut self, local: impl LocalAddresses) -> Self {
        self.policy.local = Some(Box::new(local));
        self
    }

    /// Builds the resolver. Reads the host's resolv.conf. The first lookup of a name outside the mesh reads the `hosts`
    /// file, on a thread for blocking work. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config): [`Upstream::servers`] without a server, or a configured `hosts` file
    /// that cannot be read.
    pub fn build(self) -> Result<MeshResolver, Error> {
        let short_names_upstream = self.upstream.short_names_before_first_table;
        let upstream = ReloadingUpstream::new(self.upstream)?;
        let scope = match upstream.state().search().first() {
            Some(domain) if self.scope.search_domain().is_empty() => self.scope.with_search_domain(domain),
            _ => self.scope,
        };
        let mesh = NameSource {
            names: self.names,
            sync: SyncWatch::new(self.health),
            scope,
            policy: self.policy,
            first_table_timeout: self.first_table_timeout,
            istiod: self.istiod.into(),
            short_names_upstream,
        };
        let reverse_index = ReverseIndex::default();
        Ok(MeshResolver::from_inner(Inner { mesh, upstream, reverse_index, _client: self.client }))
    }
}

impl fmt::Debug for MeshResolverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshResolverBuilder")
            .field("scope", &self.scope)
            .field("upstream", &self.upstream)
            .field("first_table_timeout", &self.first_table_timeout)
            .finish_non_exhaustive()
    }
}
