//! What a resolver gives back.

use std::{net::IpAddr, ops::Deref, sync::Arc, time::Duration};

use nds_client::SyncState;
use smallvec::SmallVec;

use crate::{lookup::Via, mode::Given};

/// How long an answer of the mesh may be kept: what Istio's DNS proxy says (`pkg/dns/client/dns.go`,
/// `defaultTTLInSeconds`).
pub(crate) const MESH_TTL: Duration = Duration::from_secs(MESH_TTL_SECONDS as u64);
pub(crate) const MESH_TTL_SECONDS: u32 = 30;

pub(crate) type Ips = SmallVec<[IpAddr; INLINE]>;

/// So many addresses fit into an answer without an allocation.
const INLINE: usize = 8;

/// The addresses of a mesh name, IPv4 first, shuffled within each family.
///
/// Up to eight addresses are held without an allocation; a headless service with more costs one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    ips: Ips,
    via: Via,
}

impl Addresses {
    pub(crate) fn of(given: &Given<'_>) -> Self {
        Self { ips: shuffled(given), via: given.answer.via() }
    }

    /// How the name found its entry.
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }
}

impl Deref for Addresses {
    type Target = [IpAddr];

    fn deref(&self) -> &[IpAddr] {
        &self.ips
    }
}

impl IntoIterator for Addresses {
    type Item = IpAddr;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.ips.into_iter())
    }
}

impl<'a> IntoIterator for &'a Addresses {
    type Item = &'a IpAddr;
    type IntoIter = std::slice::Iter<'a, IpAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.ips.iter()
    }
}

/// Where an answer came from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// The host's `hosts` file, or the loopback addresses that `localhost` always has (RFC 6761 §6.3).
    Hosts,
    /// The name was an address.
    Literal,
    /// istiod's name table. The addresses may be virtual: a ClusterIP, or an address of 240.240.0.0/16 that only
    /// the mesh connector can dial.
    #[non_exhaustive]
    Mesh {
        /// How the name found its entry.
        via: Via,
        /// How current the table was.
        state: SyncState,
    },
    /// Upstream DNS.
    Upstream,
}

/// The addresses of a name, and where they came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    addresses: Ips,
    canonical_name: Arc<str>,
    source: Source,
    ttl: Duration,
}

impl Lookup {
    pub(crate) fn new(addresses: Ips, canonical_name: Arc<str>, source: Source, ttl: Duration) -> Self {
        Self { addresses, canonical_name, source, ttl }
    }

    /// The addresses, IPv4 first; never empty. Those of a mesh name are shuffled within each family, those of other
    /// names are in the order in which they came.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The name that has the addresses: in the mesh the key of istiod's table (`*.x` for a wildcard), upstream the
    /// end of the chain of aliases; lower-case, without a trailing dot. An address as it was given.
    #[must_use]
    pub fn canonical_name(&self) -> &str {
        &self.canonical_name
    }

    /// The canonical name, if the mesh answered.
    #[must_use]
    pub fn mesh_name(&self) -> Option<&str> {
        matches!(self.source, Source::Mesh { .. }).then_some(&*self.canonical_name)
    }

    /// Where the answer came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// How long the answer may be kept. 30 seconds for a mesh name, what is left of the records' time for an
    /// upstream one, [`Duration::MAX`] for an address, zero for the `hosts` file.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl IntoIterator for Lookup {
    type Item = IpAddr;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.addresses.into_iter())
    }
}

/// The addresses of an answer, one by one.
#[derive(Clone, Debug)]
pub struct IntoIter(smallvec::IntoIter<[IpAddr; INLINE]>);

impl Iterator for IntoIter {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

/// Istio's proxy shuffles each answer (`roundRobinResponse`), so that the members of a headless service get equal
/// shares. Families are kept apart, because most callers dial in the order given.
pub(crate) fn shuffled(answer: &Given<'_>) -> Ips {
    let mut ips = Ips::new();
    ips.extend(answer.ipv4().iter().copied().map(IpAddr::V4));
    shuffle(&mut ips);
    let second = ips.len();
    ips.extend(answer.ipv6().iter().copied().map(IpAddr::V6));
    shuffle(&mut ips[second..]);
    ips
}

pub(crate) fn shuffle(ips: &mut [IpAddr]) {
    if ips.len() > 1 {
        fastrand::shuffle(ips);
    }
}
