//! reqwest with a resolver that returns loopback addresses of the bridge.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    bridge::{Bridge, LocalServices},
    error::Error,
};

impl Resolve for LocalServices {
    /// Resolves a service to a loopback address of the bridge, and a name outside the mesh to its addresses in DNS. For
    /// a URL with a port, the bridge must be able to listen on that port. For a URL without a port, the result contains
    /// the port of a listener that accepts both HTTP and TLS.
    fn resolve(&self, name: Name) -> Resolving {
        let services = self.clone();
        Box::pin(async move {
            let state = services.bridge().ok_or("the bridge has ended")?;
            let resolver = state.mesh.raw_resolver();
            let host = resolver.canonical_name(name.as_str());
            if let Some(host) = &host {
                let ip = services.listening(host);
                let default = services.default_port(host);
                let address = default.or(ip.map(|ip| SocketAddr::new(ip, 0)));
                if let Some(address) = address {
                    let addresses: Addrs = Box::new(std::iter::once(address));
                    return Ok(addresses);
                }
            }
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
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
