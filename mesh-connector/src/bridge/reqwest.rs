//! The bridge as a proxy for reqwest.

mod resolve;

use super::Bridge;
use crate::error::{Error, ErrorKind};

impl Bridge {
    /// Returns a reqwest proxy for `http://` and `https://` URLs. The mesh resolves the host names. URLs of mesh
    /// services start with `http://`, because the mesh adds mTLS.
    ///
    /// If a service cannot be reached, reqwest returns a response, as with a sidecar: the status is 502, 504 or 403 (508
    /// if the URL is a listener of the bridge itself),
    /// the header `x-sidestep-error` contains the error kind, and the body the message. With
    /// `reqwest::Proxy::all(bridge.socks_url())`, reqwest returns an error instead; it needs the reqwest features
    /// `socks` and one for TLS.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: reqwest rejects the proxy URL. This is not expected to occur.
    pub fn reqwest_proxy(&self) -> Result<reqwest::Proxy, Error> {
        reqwest::Proxy::all(self.http_url()).map_err(|error| {
            Error::with_source(ErrorKind::Config, "reqwest rejects the proxy URL of the bridge", error)
        })
    }

    /// Returns a builder of reqwest clients that use the bridge, regardless of the proxy variables of the environment
    /// (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    ///
    /// The errors of [`reqwest_proxy`](Self::reqwest_proxy).
    pub fn reqwest_builder(&self) -> Result<reqwest::ClientBuilder, Error> {
        Ok(reqwest::Client::builder().no_proxy().proxy(self.reqwest_proxy()?))
    }
}
