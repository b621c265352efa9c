//! A failed connection attempt.

use std::{error::Error as StdError, fmt};

use nds_client::SpiffeId;

use super::Error;

/// A failed connection attempt to one endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address of the endpoint: `10.1.2.3:15443`.
    pub endpoint: String,
    /// The Kubernetes cluster behind the endpoint, if the endpoint is an east-west gateway. `None` if it is a workload.
    pub gateway: Option<String>,
    /// The server name for the TLS handshake (SNI). `None` for plaintext, and for a handshake without SNI.
    pub sni: Option<String>,
    /// The error of the attempt.
    pub error: Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.gateway {
            Some(cluster) => write!(f, "gateway {} (to `{cluster}`", self.endpoint)?,
            None => write!(f, "endpoint {}", self.endpoint)?,
        }
        match (&self.gateway, &self.sni) {
            (Some(_), Some(sni)) => write!(f, ", SNI `{sni}`)")?,
            (Some(_), None) => f.write_str(")")?,
            (None, Some(sni)) => write!(f, " (SNI `{sni}`)")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.error)
    }
}

/// The expected and the presented identities of a peer whose certificate is valid, but whose identity is not one that
/// the control plane expects for the service.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IdentityMismatch {
    /// The expected identities: SPIFFE IDs, or patterns such as `spiffe://cluster.local/*`.
    pub expected: Vec<String>,
    /// The names in the presented certificate: the URIs or, for a server outside the mesh, all subject alternative
    /// names.
    pub presented: Vec<String>,
}

impl IdentityMismatch {
    /// Returns the presented SPIFFE ID. `None` if the certificate has none in the format of Istio.
    #[must_use]
    pub fn presented_id(&self) -> Option<SpiffeId> {
        self.presented.iter().find_map(|name| name.parse().ok())
    }
}

impl fmt::Display for IdentityMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.presented[..] {
            [] => f.write_str("the peer presented no SPIFFE identity")?,
            names => write!(f, "the peer presented `{}`", names.join("`, `"))?,
        }
        write!(f, ", expected `{}`", self.expected.join("` or `"))
    }
}

impl StdError for IdentityMismatch {}
