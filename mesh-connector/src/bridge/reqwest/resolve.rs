//! reqwest with nothing but another resolver: services of the mesh are loopback addresses.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    bridge::{Bridge, LocalServices},
    error::Error,
};

impl Resolve for LocalServices {
    /// A port in the URL is the service's own, and has to be free on loopback; a URL without one takes the port that it is
    /// given here, whichever its scheme is: the listener recognises TLS by its first byte.
    fn resolve(&self, name: Name) -> Resolving {
        let services = self.clone();
        Box::pin(async move {
            let shared = services.bridge().ok_or("the bridge has ended")?;
            let resolver = shared.mesh.resolver();
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
    /// A builder of reqwest clients that reach the mesh by its names alone, through loopback addresses; no proxy of the
    /// environment can divert them. For programs that set nothing but a resolver: [`reqwest_builder`] goes through the
    /// proxy instead, whatever ports are free.
    ///
    /// [`reqwest_builder`]: Self::reqwest_builder
    ///
    /// # Errors
    ///
    /// Those of [`local_services`](Self::local_services).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn reqwest_builder_by_name(&self) -> Result<reqwest::ClientBuilder, Error> {
        Ok(reqwest::Client::builder().no_proxy().dns_resolver(self.local_services().await?))
    }
}
