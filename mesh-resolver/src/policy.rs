//! The policy that decides which addresses a resolver returns for a mesh name: those of the table, a loopback
//! address, or those of upstream DNS.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use nds_client::{
    NdsClient,
    resources::name_table::{NameEntry, Registry},
};

use crate::lookup::{Answer, MatchKind};

/// Assigns loopback addresses to mesh names.
///
/// A listener behind each address must forward connections to the service. The bridge of the mesh connector
/// implements this trait.
pub trait LocalAddresses: Send + Sync + 'static {
    /// Returns the loopback address of a host, or `None` to use the addresses of the name table.
    ///
    /// `host` is the canonical name of a service, or the queried name if a wildcard entry matched. It is in lower
    /// case, without a trailing dot. `asker` is the origin of the lookup.
    ///
    /// Every lookup of a mesh name calls this method, on the thread that performs the lookup. The method must not
    /// block.
    ///
    /// # Errors
    ///
    /// [`NoLocalAddress`]: the lookup must fail, because neither a loopback address nor an address of the name table is
    /// safe for the origin of the lookup.
    fn address(&self, host: &str, asker: Asker) -> Result<Option<IpAddr>, NoLocalAddress>;
}

/// The origin of a lookup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Asker {
    /// This process, through the resolver or an adapter.
    ThisProcess,
    /// The UDP client of a [`DnsListener`](crate::listener::DnsListener).
    Udp {
        /// The address of the client.
        client: SocketAddr,
        /// The address of the listener.
        server: SocketAddr,
    },
    /// The TCP client of a [`DnsListener`](crate::listener::DnsListener).
    Tcp {
        /// The address of the client.
        client: SocketAddr,
        /// The address of the listener.
        server: SocketAddr,
    },
    /// A client of another DNS server, such as [`MeshHandler`](crate::hickory_server::MeshHandler).
    Unknown,
}

/// The reason why a mesh name has no loopback address. `Display` contains the object and the next step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoLocalAddress {
    is_refused: bool,
    reason: Arc<str>,
}

impl NoLocalAddress {
    /// The origin of the lookup has no permission to use loopback addresses. A DNS client receives REFUSED.
    #[must_use]
    pub fn refused(reason: impl Into<Arc<str>>) -> Self {
        Self { is_refused: true, reason: reason.into() }
    }

    /// No listener can be opened for the host. A DNS client receives SERVFAIL.
    #[must_use]
    pub fn unavailable(reason: impl Into<Arc<str>>) -> Self {
        Self { is_refused: false, reason: reason.into() }
    }

    /// Returns whether the reason is that the origin of the lookup has no permission to use loopback addresses.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }
}

impl fmt::Display for NoLocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for NoLocalAddress {}

/// Decides whether a mesh name belongs to a host outside the mesh.
pub(crate) enum ExternalNames {
    /// A predicate from the builder.
    Predicate(Box<dyn Fn(&str) -> bool + Send + Sync>),
    /// istiod's clusters, for names whose addresses are all virtual.
    Clusters(NdsClient),
}

/// Decides which addresses a resolver returns for a mesh name: those of the name table, those of upstream DNS (for
/// hosts outside the mesh), or local addresses.
#[derive(Default)]
pub(crate) struct AnswerPolicy {
    pub(crate) external: Option<ExternalNames>,
    pub(crate) local: Option<Box<dyn LocalAddresses>>,
}

impl AnswerPolicy {
    /// Whether the addresses of an entry are returned unchanged for every name that matches it.
    #[inline]
    pub(crate) fn leaves_unchanged(&self, entry: NameEntry<'_>) -> bool {
        self.local.is_none()
            && match &self.external {
                None => true,
                Some(ExternalNames::Clusters(_)) => {
                    entry.ipv4().first().is_some_and(|first| !is_virtual(*first))
                }
                Some(ExternalNames::Predicate(_)) => false,
            }
    }

    /// Applies the policy. Returns `None` if upstream DNS must answer instead of the name table.
    pub(crate) fn apply<'a>(
        &self,
        answer: Answer<'a>,
        question: &str,
        asker: Asker,
    ) -> Result<Option<Answer<'a>>, NoLocalAddress> {
        if self.leaves_unchanged(answer.entry()) {
            return Ok(Some(answer));
        }
        if self.external.as_ref().is_some_and(|external| external.contains(&answer)) {
            return Ok(None);
        }
        let local = match &self.local {
            None => None,
            Some(local) if answer.match_kind() == MatchKind::Wildcard || answer.name().starts_with('*') => {
                let Some(name) = answer.matched_name(question) else { return Ok(None) };
                local.address(&name, asker)?
            }
            Some(local) => local.address(answer.name(), asker)?,
        };
        Ok(Some(answer.with_local(local)))
    }
}

impl ExternalNames {
    fn contains(&self, answer: &Answer<'_>) -> bool {
        match self {
            Self::Predicate(external) => external(answer.name()),
            Self::Clusters(client) => {
                answer.entry().registry() == Registry::External
                    && answer.ipv4().iter().all(|ip| is_virtual(*ip))
                    && answer.ipv6().iter().all(|ip| ip.segments()[..3] == VIRTUAL_IPV6)
                    && is_external(client, answer.name())
            }
        }
    }
}

/// Whether an address is allocated by istiod for a ServiceEntry without addresses: 240.240.0.0/16
/// (`pilot/pkg/controllers/ipallocate`), or another part of the reserved range. Only a sidecar or a mesh connector
/// can dial these addresses.
fn is_virtual(ip: Ipv4Addr) -> bool {
    ip.octets()[0] >= 240
}

/// The IPv6 range that istiod allocates from, 2001:2::/48.
const VIRTUAL_IPV6: [u16; 3] = [0x2001, 2, 0];

/// Whether istiod's clusters mark a host as outside the mesh. The first call subscribes to the clusters. Until they
/// arrive, the result is true, because a virtual address cannot be dialled anyway.
fn is_external(client: &NdsClient, host: &str) -> bool {
    let clusters = client.clusters().current();
    clusters.is_none_or(|clusters| clusters.for_host(host).iter().any(|cluster| cluster.external))
}
