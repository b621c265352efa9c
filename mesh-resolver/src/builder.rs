//! Setting a resolver up.

use std::{fmt, time::Duration};

use nds_client::{NdsClient, health::Health, resources::name_table::NameTable, watch::Watch};

use crate::{
    error::Error,
    mode::{External, LocalAddresses, Mode},
    names::{NameSource, SyncWatch},
    recent::Recent,
    resolver::{Inner, MeshResolver},
    scope::Scope,
    upstream::{Client, Upstream},
};

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
    /// resolv.conf is no error here; see [`Upstream::system`].
    pub fn new(client: &NdsClient) -> Result<Self, Error> {
        Self::builder_for(client).with_upstream_for_external().build()
    }

    /// Starts a resolver over the names of a client, to be set up further. It gives out what the table says, as a
    /// connector needs it that dials virtual addresses.
    pub fn builder_for(client: &NdsClient) -> MeshResolverBuilder {
        let config = client.config();
        let scope = Scope::new(config.namespace(), config.dns_domain());
        let builder = Self::builder(client.names().clone(), client.health().clone(), scope);
        MeshResolverBuilder { client: Some(client.clone()), ..builder }
    }

    /// Starts a resolver over any name table that is kept current.
    pub fn builder(names: Watch<NameTable>, health: Watch<Health>, scope: Scope) -> MeshResolverBuilder {
        MeshResolverBuilder {
            names,
            health,
            scope,
            upstream: Upstream::system(),
            first_table_timeout: FIRST_TABLE_TIMEOUT,
            client: None,
            mode: Mode::default(),
        }
    }
}

/// Sets a [`MeshResolver`] up.
///
/// # Defaults
///
/// * upstream: [`Upstream::system`];
/// * the first table is waited for 3 seconds;
/// * the first search domain of the scope is upstream's.
#[must_use = "a builder does nothing until it builds"]
pub struct MeshResolverBuilder {
    names: Watch<NameTable>,
    health: Watch<Health>,
    scope: Scope,
    upstream: Upstream,
    first_table_timeout: Duration,
    client: Option<NdsClient>,
    mode: Mode,
}

const FIRST_TABLE_TIMEOUT: Duration = Duration::from_secs(3);

impl MeshResolverBuilder {
    /// Sets who answers for names that the mesh does not know.
    pub fn with_upstream(self, upstream: Upstream) -> Self {
        Self { upstream, ..self }
    }

    /// Sets how long a lookup may wait for the first table. Zero: not at all.
    pub fn with_first_table_timeout(self, timeout: Duration) -> Self {
        Self { first_table_timeout: timeout, ..self }
    }

    /// Gives out upstream's answer for those mesh names that are of something outside the mesh, instead of a virtual
    /// address that only a mesh connector can dial: what a program wants that only resolves. `external` is asked with
    /// the canonical name, `*.x` for a wildcard. Which names they are, the clusters of istiod say (`MESH_EXTERNAL`) and
    /// the name table does not.
    pub fn with_external(mut self, external: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.mode.external = Some(External::Told(Box::new(external)));
        self
    }

    /// The same by what the clusters of istiod say, for those names whose addresses are istiod's own inventions
    /// (240.240.0.0/16, 2001:2::/48): addresses that a ServiceEntry has are given out as they are. istiod is asked for
    /// its clusters when the first such name is looked up. For a resolver of a client's
    /// ([`MeshResolver::builder_for`]); elsewhere it changes nothing.
    pub fn with_upstream_for_external(mut self) -> Self {
        if let Some(client) = &self.client {
            self.mode.external = Some(External::Clusters(client.clone()));
        }
        self
    }

    /// Gives out loopback addresses for mesh names (`Local` mode), behind which somebody listens and brings connections
    /// to where they belong.
    pub fn with_local_addresses(mut self, local: impl LocalAddresses) -> Self {
        self.mode.local = Some(Box::new(local));
        self
    }

    /// Builds the resolver. Reads the host's DNS configuration and `hosts` file; connects to nobody.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config): upstream without a name server, or a `hosts` file that was named and
    /// cannot be read.
    pub fn build(self) -> Result<MeshResolver, Error> {
        let upstream = Client::new(self.upstream)?;
        let scope = match upstream.state().search().first() {
            Some(domain) if self.scope.search_domain().is_empty() => self.scope.with_search_domain(domain),
            _ => self.scope,
        };
        let mesh = NameSource {
            names: self.names,
            sync: SyncWatch::new(self.health),
            scope,
            mode: self.mode,
            first_table_timeout: self.first_table_timeout,
        };
        let recent = Recent::default();
        Ok(MeshResolver::from_inner(Inner { mesh, upstream, recent, _client: self.client }))
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
