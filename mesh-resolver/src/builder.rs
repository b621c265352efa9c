//! Setting a resolver up.

use std::time::Duration;

use nds_client::{Health, NameTable, NdsClient, Watched};

use crate::{Error, MeshResolver, Scope, Upstream, recent::Recent, resolver::Inner, upstream::Client};

/// Sets a [`MeshResolver`] up.
///
/// # Defaults
///
/// * upstream: [`Upstream::system`];
/// * the first table is waited for 3 seconds;
/// * the first search domain of the scope is upstream's.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct MeshResolverBuilder {
    names: Watched<NameTable>,
    health: Watched<Health>,
    scope: Scope,
    upstream: Upstream,
    first_table_timeout: Duration,
    client: Option<NdsClient>,
}

const FIRST_TABLE_TIMEOUT: Duration = Duration::from_secs(3);

impl MeshResolverBuilder {
    pub(crate) fn new(names: Watched<NameTable>, health: Watched<Health>, scope: Scope) -> Self {
        let (upstream, first_table_timeout) = (Upstream::system(), FIRST_TABLE_TIMEOUT);
        Self { names, health, scope, upstream, first_table_timeout, client: None }
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

    /// Builds the resolver. Reads the host's DNS configuration and `hosts` file; connects to nobody.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config): upstream without a name server, or a `hosts` file that was named and
    /// cannot be read.
    pub fn build(self) -> Result<MeshResolver, Error> {
        let upstream = Client::new(&self.upstream)?;
        let scope = match upstream.search().first() {
            Some(domain) if self.scope.search_domain().is_empty() => self.scope.with_search_domain(domain),
            _ => self.scope,
        };
        Ok(MeshResolver::from_inner(Inner {
            names: self.names,
            health: self.health,
            scope,
            upstream,
            first_table_timeout: self.first_table_timeout,
            recent: Recent::default(),
            _client: self.client,
        }))
    }
}
