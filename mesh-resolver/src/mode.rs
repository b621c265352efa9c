//! What of the table's answers is given out: all of it, or for some names something else.

use std::net::{IpAddr, Ipv4Addr};

use nds_client::{
    NdsClient,
    resources::name_table::{NameEntry, Registry},
};

use crate::lookup::{Answer, Via};

/// Hands out loopback addresses, each of which stands for one mesh name because something listens there that brings
/// connections to it. The mesh connector's bridge is one.
pub trait LocalAddresses: Send + Sync + 'static {
    /// The address that stands for a host; `None` leaves the host to the table. `host` is the canonical name of a
    /// service, and under a wildcard the name that was asked for; lower-case, without a trailing dot.
    ///
    /// It is called at each lookup of a mesh name, on the thread that looks up: it answers from memory.
    fn address(&self, host: &str) -> Option<IpAddr>;
}

/// Says whether a mesh name is of something outside the mesh.
pub(crate) enum External {
    /// Whoever set the resolver up.
    Told(Box<dyn Fn(&str) -> bool + Send + Sync>),
    /// The clusters of istiod, about names whose addresses nobody routes.
    Clusters(NdsClient),
}

/// The answer mode of a resolver.
#[derive(Default)]
pub(crate) struct Mode {
    pub(crate) external: Option<External>,
    pub(crate) local: Option<Box<dyn LocalAddresses>>,
}

impl Mode {
    /// Whether the addresses of an entry are given out as the table has them, whatever the name.
    #[inline]
    pub(crate) fn keeps(&self, entry: NameEntry<'_>) -> bool {
        self.local.is_none()
            && match &self.external {
                None => true,
                Some(External::Clusters(_)) => entry.ipv4().first().is_some_and(|first| !is_virtual(*first)),
                Some(External::Told(_)) => false,
            }
    }

    /// The answer as it is given out; `None` where upstream DNS answers instead of the table.
    pub(crate) fn give<'a>(&self, answer: Answer<'a>, question: &str) -> Option<Answer<'a>> {
        if self.keeps(answer.entry()) {
            return Some(answer);
        }
        if self.external.as_ref().is_some_and(|external| external.is(&answer)) {
            return None;
        }
        let local = match &self.local {
            None => None,
            Some(local) if answer.via() == Via::Wildcard || answer.name().starts_with('*') => {
                local.address(&answer.known(question)?)
            }
            Some(local) => local.address(answer.name()),
        };
        Some(answer.with_local(local))
    }
}

impl External {
    fn is(&self, answer: &Answer<'_>) -> bool {
        match self {
            Self::Told(external) => external(answer.name()),
            Self::Clusters(client) => {
                answer.entry().registry() == Registry::External
                    && answer.ipv4().iter().all(|ip| is_virtual(*ip))
                    && answer.ipv6().iter().all(|ip| ip.segments()[..3] == VIRTUAL_IPV6)
                    && is_external(client, answer.name())
            }
        }
    }
}

/// istiod's own addresses for ServiceEntries without any: of 240.240.0.0/16 (`pilot/pkg/controllers/ipallocate`), or of
/// another part of what is reserved. Only a sidecar or a mesh connector knows what is behind them.
fn is_virtual(ip: Ipv4Addr) -> bool {
    ip.octets()[0] >= 240
}

/// 2001:2::/48, their IPv6 counterpart.
const VIRTUAL_IPV6: [u16; 3] = [0x2001, 2, 0];

/// What the clusters say of a host. The first to ask subscribes to them; before they come, a host counts as external:
/// who dials a virtual address gets nowhere, whatever is behind it.
fn is_external(client: &NdsClient, host: &str) -> bool {
    let clusters = client.clusters().current();
    clusters.is_none_or(|clusters| clusters.for_host(host).iter().any(|cluster| cluster.external))
}
