//! reqwest through the bridge.

mod resolve;

use super::Bridge;
use crate::error::{Error, ErrorKind};

impl Bridge {
    /// The bridge as a proxy of reqwest's, for `http://` and `https://` URLs. Names are resolved by the mesh. URLs of
    /// mesh services are `http://`: the mesh adds mTLS itself.
    ///
    /// As with a sidecar, a service that cannot be reached is a response: status 502, 504 or 403, with the kind of the
    /// error in `x-sidestep-error` and the reason in its body. `reqwest::Proxy::all(bridge.socks_url())` makes it an
    /// error of reqwest's instead, in builds with its features `socks` and one for TLS.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: never seen; reqwest refuses the URL.
    pub fn reqwest_proxy(&self) -> Result<reqwest::Proxy, Error> {
        reqwest::Proxy::all(self.http_url()).map_err(|error| {
            Error::with_source(ErrorKind::Config, "reqwest does not take the bridge as a proxy", error)
        })
    }

    /// A builder of reqwest clients through the bridge, which no proxy of the environment (`HTTP_PROXY`, `ALL_PROXY`,
    /// `NO_PROXY`) can divert.
    ///
    /// # Errors
    ///
    /// Those of [`reqwest_proxy`](Self::reqwest_proxy).
    pub fn reqwest_builder(&self) -> Result<reqwest::ClientBuilder, Error> {
        Ok(reqwest::Client::builder().no_proxy().proxy(self.reqwest_proxy()?))
    }
}
