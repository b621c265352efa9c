//! reqwest with a resolver that returns loopback addresses of the bridge.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    bridge::{Bridge, LocalServices},
    error::Error,
};

impl Resolve for LocalServices {
    /// Resolves a service to a loopback address of the bridge, and a name outside the mesh to its addresses in DNS. For
    /// a URL without a port, the result contains the port of a listener that accepts both HTTP and TLS. If the URL has
    /// a port, reqwest uses that port instead. The lookup therefore fails if the bridge cannot listen on all ports of
    /// the service except 80.
    fn resolve(&self, name: Name) -> Resolving {
        let services = self.clone();
        Box::pin(async move {
            let resolver = services.raw_resolver()?;
            let mut host = resolver.canonical_name(name.as_str());
            if host.is_none() {
                let found = resolver.lookup_ip(name.as_str()).await?;
                // The name may have become a mesh name during the lookup. Do not return its addresses from the name
                // table, because they bypass the mesh.
                host = found.mesh_name().map(ToOwned::to_owned);
                if host.is_none() {
                    let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
                    return Ok(addresses);
                }
            }
            let host = host.filter(|host| !host.starts_with('*')).unwrap_or_else(|| lower(name.as_str()));
            let addresses: Addrs = Box::new(std::iter::once(services.for_urls(&host)?));
            Ok(addresses)
        })
    }
}

/// Returns the name of a host that a wildcard entry of the name table covers.
fn lower(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Bridge {
    /// Returns a builder of reqwest clients that resolve services to loopback addresses of the bridge. Proxy variables
    /// of the environment have no effect. Use it for programs that can only set a resolver; [`reqwest_builder`] uses
    /// the proxy instead, and needs no free service ports on loopback.
    ///
    /// [`reqwest_builder`]: Self::reqwest_builder
    ///
    /// # Errors
    ///
    /// The errors of [`local_services`](Self::local_services).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn reqwest_builder_by_name(&self) -> Result<reqwest::ClientBuilder, Error> {
        Ok(reqwest::Client::builder().no_proxy().dns_resolver(self.local_services().await?))
    }
}
