//! Setting a resolver up.

use std::{fmt, time::Duration};

use nds_client::{Health, NameTable, NdsClient, Watch};

use crate::{
    Error, LocalAddresses, MeshResolver, Scope, Upstream,
    currency::Currency,
    mode::{External, Mode},
    recent::Recent,
    resolver::Inner,
    upstream::Client,
};

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
    pub(crate) fn new(names: Watch<NameTable>, health: Watch<Health>, scope: Scope) -> Self {
        let (upstream, first_table_timeout) = (Upstream::system(), FIRST_TABLE_TIMEOUT);
        Self { names, health, scope, upstream, first_table_timeout, client: None, mode: Mode::default() }
    }

    pub(crate) fn with_client(self, client: NdsClient) -> Self {
        Self { client: Some(client), ..self }
    }

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
        Ok(MeshResolver::from_inner(Inner {
            names: self.names,
            currency: Currency::new(self.health),
            scope,
            mode: self.mode,
            upstream,
            first_table_timeout: self.first_table_timeout,
            recent: Recent::default(),
            _client: self.client,
        }))
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
