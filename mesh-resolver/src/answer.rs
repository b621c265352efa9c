//! What a resolver gives back.

mod ips;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    ops::Deref,
    time::Duration,
};

use nds_client::health::SyncState;
use smallvec::SmallVec;

use self::ips::Few;
pub(crate) use self::ips::Ips;
use crate::lookup::{Answer, Via};

/// How long an answer of the mesh may be kept: what Istio's DNS proxy says (`pkg/dns/client/dns.go`,
/// `defaultTTLInSeconds`).
pub(crate) const MESH_TTL: Duration = Duration::from_secs(MESH_TTL_SECONDS as u64);
pub(crate) const MESH_TTL_SECONDS: u32 = 30;

/// The addresses of a mesh name, IPv4 first, shuffled within each family: a list, and how the name was found.
///
/// Up to eight addresses are held without an allocation; a headless service with more costs one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    ips: Few,
    via: Via,
}

impl Addresses {
    pub(crate) fn of(answer: &Answer<'_>) -> Self {
        Self { ips: Few::shuffled(answer.ipv4(), answer.ipv6()), via: answer.via() }
    }

    /// The address of a name that the table has as it stands.
    #[inline]
    pub(crate) fn only(address: Ipv4Addr) -> Self {
        Self { ips: Few::One([IpAddr::V4(address)]), via: Via::Exact }
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
    /// Upstream DNS, when it last answered: no server answers now ([`Upstream::with_stale_answers`]).
    ///
    /// [`Upstream::with_stale_answers`]: crate::Upstream::with_stale_answers
    #[non_exhaustive]
    Stale {
        /// For how long the answer has been out of date.
        age: Duration,
    },
    /// The system's own lookup, `getaddrinfo`: DNS does not know the name ([`Upstream::with_getaddrinfo`]).
    ///
    /// [`Upstream::with_getaddrinfo`]: crate::Upstream::with_getaddrinfo
    System,
    /// Upstream DNS.
    Upstream,
}

impl Source {
    /// A short name for metric labels.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Literal => "literal",
            Self::Mesh { .. } => "mesh",
            Self::Stale { .. } => "stale",
            Self::System => "system",
            Self::Upstream => "upstream",
        }
    }
}

/// The complete answer to a name: its addresses, its canonical name, who gave them, and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    addresses: Ips,
    canonical_name: Text,
    source: Source,
    ttl: Duration,
}

impl Lookup {
    #[inline]
    pub(crate) fn new(addresses: Ips, canonical_name: &str, source: Source, ttl: Duration) -> Self {
        Self { addresses, canonical_name: Text::new(canonical_name), source, ttl }
    }

    /// The answer of a name that is an address.
    pub(crate) fn literal(name: &str, address: IpAddr) -> Self {
        Self::new(Ips::One([address]), name, Source::Literal, Duration::MAX)
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
        self.canonical_name.as_str()
    }

    /// The canonical name, if the mesh answered.
    #[must_use]
    pub fn mesh_name(&self) -> Option<&str> {
        matches!(self.source, Source::Mesh { .. }).then(|| self.canonical_name())
    }

    /// Where the answer came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// How long the answer may be kept. 30 seconds for a mesh name, what is left of the records' time for an
    /// upstream one, [`Duration::MAX`] for an address, zero for the `hosts` file and the system's own lookup.
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
pub struct IntoIter(smallvec::IntoIter<[IpAddr; ips::INLINE]>);

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

/// A host name, without an allocation where it is not unusually long.
#[derive(Clone, Eq, PartialEq)]
struct Text(SmallVec<[u8; 56]>);

impl Text {
    #[inline]
    fn new(text: &str) -> Self {
        Self(SmallVec::from_slice(text.as_bytes()))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
