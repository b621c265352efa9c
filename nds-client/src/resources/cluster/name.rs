//! Cluster names and the SNI derived from them.

use std::{fmt, str::FromStr};

/// The name of an outbound cluster: `outbound|<port>|<subset>|<host>` (istio `pilot/pkg/model/service.go`,
/// `BuildSubsetKey`).
#[expect(clippy::exhaustive_structs, reason = "Istio's form of the name is fixed")]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClusterName {
    /// The port of the service, which can differ from that of its endpoints.
    pub port: u16,
    /// The subset of a DestinationRule; empty for the whole service.
    pub subset: String,
    /// The fully qualified host of the service, lower-case without a trailing dot.
    pub host: String,
}

/// The error of a text that is not the name of an outbound cluster.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not of the form outbound|<port>|<subset>|<host>")]
pub struct InvalidClusterName(String);

impl ClusterName {
    /// Returns the SNI by which an east-west gateway selects the cluster: `outbound_.<port>_.<subset>_.<host>` (istio
    /// `pilot/pkg/model/service.go`, `BuildDNSSrvSubsetKey`). It is used only if CDS contains no SNI.
    #[must_use]
    pub fn sni(&self) -> String {
        format!("outbound_.{}_.{}_.{}", self.port, self.subset, self.host)
    }
}

impl FromStr for ClusterName {
    type Err = InvalidClusterName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
            let port = parts.next()?.parse().ok()?;
            let (subset, host) = (parts.next()?.to_owned(), parts.next()?.to_owned());
            (!host.is_empty()).then_some(Self { port, subset, host })
        };
        parse().ok_or_else(|| InvalidClusterName(name.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}
