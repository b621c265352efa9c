//! An adapter for hyper-util's `HttpConnector` (feature `hyper`).
//!
//! [`MeshResolver`] implements `tower::Service<Name>`, so any HTTP client that accepts such a service as its resolver
//! can use it. The connector dials the resolved addresses directly: see [Raw addresses](crate#raw-addresses).
//!
//! ```
//! use hyper_util::client::legacy::connect::HttpConnector;
//! use mesh_resolver::{MeshResolver, SearchScope, Upstream};
//! # use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (names, health) = (WatchSender::new(NameTable::default()), WatchSender::new(Health::default()));
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let scope = SearchScope::new("vms", "svc.cluster.local");
//! let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
//!     .with_upstream(Upstream::none())
//!     .build()?;
//! let connector = HttpConnector::new_with_resolver(resolver);
//! # let _ = connector;
//! # Ok(())
//! # }
//! ```

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::{error::Error, iter::IntoIter, resolver::MeshResolver};

/// An iterator over the addresses of a name. The port is 0; the connector replaces it with the port of the URL.
#[derive(Clone, Debug)]
pub struct SocketAddrs(IntoIter);

impl Iterator for SocketAddrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.0.next().map(|ip| SocketAddr::new(ip, 0))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for SocketAddrs {}

impl Service<Name> for MeshResolver {
    type Response = SocketAddrs;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<SocketAddrs, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(SocketAddrs(resolver.lookup_ip(name.as_str()).await?.into_iter())) })
    }
}
