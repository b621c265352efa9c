//! An adapter for tower (feature `tower`): a service that maps names to addresses.
//!
//! ```
//! use mesh_resolver::{MeshResolver, SearchScope, Upstream, tower::LookupService};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! # use nds_client::{health::Health, watch::WatchSender, resources::name_table::NameTable};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (names, health) = (WatchSender::new(NameTable::default()), WatchSender::new(Health::default()));
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let scope = SearchScope::new("vms", "svc.cluster.local");
//! let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
//!     .with_upstream(Upstream::none())
//!     .build()?;
//! // The service composes with tower layers: limits, timeouts, retries.
//! let lookups = ServiceBuilder::new().concurrency_limit(100).service(LookupService::new(resolver));
//! let found = lookups.oneshot("localhost".to_owned()).await?;
//! assert!(found.addresses()[0].is_loopback());
//! # Ok(())
//! # }
//! ```

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{answer::Lookup, error::Error, resolver::MeshResolver};

/// A tower service that calls [`MeshResolver::lookup_ip`]. It is always ready.
#[derive(Clone, Debug)]
pub struct LookupService(MeshResolver);

impl LookupService {
    /// Creates a service that uses `resolver`.
    #[must_use]
    pub fn new(resolver: MeshResolver) -> Self {
        Self(resolver)
    }
}

impl Service<String> for LookupService {
    type Response = Lookup;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Lookup, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: String) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move { resolver.lookup_ip(&name).await })
    }
}
