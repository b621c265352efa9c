//! An adapter for reqwest (feature `reqwest`): [`MeshResolver`] implements `reqwest::dns::Resolve`.
//!
//! ```
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
//! // Without `no_proxy`, a proxy from the environment would resolve the names.
//! let client = reqwest::Client::builder().dns_resolver(resolver).no_proxy().build()?;
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! reqwest dials the resolved addresses directly: see [Raw addresses](crate#raw-addresses). The addresses have port
//! 0, which reqwest replaces with the port of the URL or the default port of its scheme.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::resolver::MeshResolver;

impl Resolve for MeshResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}
