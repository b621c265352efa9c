//! What is told of a failed attempt.

use std::{error::Error as StdError, fmt};

use nds_client::SpiffeId;

use super::Error;

/// One endpoint that was tried, and why it did not serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The endpoint: `10.1.2.3:15443`.
    pub endpoint: String,
    /// Of an east-west gateway, the cluster behind it.
    pub gateway: Option<String>,
    /// The server name that was sent, if it came to that.
    pub sni: Option<String>,
    /// What failed.
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

/// The peer's certificate is of the mesh, but not of a workload that the control plane expects at this service.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IdentityMismatch {
    /// What was expected, as texts: whole identities, or patterns such as `spiffe://cluster.local/*`.
    pub expected: Vec<String>,
    /// The URI names of the certificate that was presented.
    pub presented: Vec<String>,
}

impl IdentityMismatch {
    /// The identity that was presented, if it is one of Istio's form.
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
