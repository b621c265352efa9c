//! The types of an answer: addresses, their source and their lifetime.

mod ips;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    slice,
    time::Duration,
};

use nds_client::health::SyncState;
use smallvec::SmallVec;

use self::ips::InlineIps;
pub(crate) use self::ips::Ips;
use crate::{
    iter::IntoIter,
    lookup::{Answer, MatchKind},
};

/// The addresses of a mesh name, and the kind of match between the name and its table entry.
///
/// The list is never empty. IPv4 addresses come first; each family is shuffled. Up to eight addresses need no
/// allocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    ips: InlineIps,
    match_kind: MatchKind,
}

impl Addresses {
    pub(crate) fn from_answer(answer: &Answer<'_>) -> Self {
        Self { ips: InlineIps::shuffled(answer.ipv4(), answer.ipv6()), match_kind: answer.match_kind() }
    }

    /// Creates the addresses of a name that equals a key of the table and has a single address.
    #[inline]
    pub(crate) fn single(address: Ipv4Addr) -> Self {
        Self { ips: InlineIps::One([IpAddr::V4(address)]), match_kind: MatchKind::Exact }
    }

    /// Returns the addresses.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[IpAddr] {
        &self.ips
    }

    /// Returns the first address.
    #[inline]
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.ips[0]
    }

    /// Returns an iterator over the addresses.
    pub fn iter(&self) -> slice::Iter<'_, IpAddr> {
        self.as_slice().iter()
    }

    /// Returns the kind of match between the name and its table entry.
    #[must_use]
    pub fn match_kind(&self) -> MatchKind {
        self.match_kind
    }
}

impl AsRef<[IpAddr]> for Addresses {
    fn as_ref(&self) -> &[IpAddr] {
        self.as_slice()
    }
}

impl IntoIterator for Addresses {
    type Item = IpAddr;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter::new(self.ips)
    }
}

impl<'a> IntoIterator for &'a Addresses {
    type Item = &'a IpAddr;
    type IntoIter = slice::Iter<'a, IpAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The source of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// The host's `hosts` file, or the loopback addresses of `localhost` (RFC 6761 §6.3).
    HostsFile,
    /// The name is an address literal.
    Literal,
    /// istiod's name table. The addresses may be virtual: a ClusterIP, or an address of 240.240.0.0/16 that only a
    /// mesh connector can dial.
    #[non_exhaustive]
    Mesh {
        /// The kind of match between the name and its table entry.
        match_kind: MatchKind,
        /// The synchronisation state of the table at the time of the lookup.
        state: SyncState,
    },
    /// A cached upstream answer whose TTL has expired, returned because no upstream server answers now
    /// ([`Upstream::with_max_stale_age`]).
    ///
    /// [`Upstream::with_max_stale_age`]: crate::Upstream::with_max_stale_age
    #[non_exhaustive]
    Stale {
        /// The time since the TTL expired.
        age: Duration,
    },
    /// The system's `getaddrinfo`, for a name that DNS does not know ([`Upstream::with_getaddrinfo`]).
    ///
    /// [`Upstream::with_getaddrinfo`]: crate::Upstream::with_getaddrinfo
    GetAddrInfo,
    /// Upstream DNS.
    Upstream,
}

impl Source {
    /// Returns the value of the metric label `outcome`.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::HostsFile => "hosts_file",
            Self::Literal => "literal",
            Self::Mesh { .. } => "mesh",
            Self::Stale { .. } => "stale",
            Self::GetAddrInfo => "getaddrinfo",
            Self::Upstream => "upstream",
        }
    }
}

/// The complete answer to a lookup: addresses, canonical name, source and TTL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    addresses: Ips,
    canonical_name: InlineName,
    source: Source,
    ttl: Duration,
}

impl Lookup {
    #[inline]
    pub(crate) fn new(addresses: Ips, canonical_name: &str, source: Source, ttl: Duration) -> Self {
        Self { addresses, canonical_name: InlineName::new(canonical_name), source, ttl }
    }

    /// Creates the answer to a lookup of an address literal.
    pub(crate) fn literal(name: &str, address: IpAddr) -> Self {
        Self::new(Ips::One([address]), name, Source::Literal, Duration::MAX)
    }

    /// Returns the addresses, IPv4 first. The list is never empty.
    ///
    /// Addresses of a mesh name are shuffled within each family. Other addresses have the order of their source.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Returns the name that owns the addresses, in lower case and without a trailing dot.
    ///
    /// For a mesh name this is the key of istiod's table (`*.x` for a wildcard entry). For an upstream name it is the
    /// target of the last CNAME record. For an address literal it is the text that was looked up.
    #[must_use]
    pub fn canonical_name(&self) -> &str {
        self.canonical_name.as_str()
    }

    /// Returns the canonical name if the answer comes from istiod's name table; `None` for any other source.
    #[must_use]
    pub fn mesh_name(&self) -> Option<&str> {
        matches!(self.source, Source::Mesh { .. }).then(|| self.canonical_name())
    }

    /// Returns the source of the answer.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the time for which the caller may cache the answer.
    ///
    /// This is 30 seconds for a mesh name, the remaining TTL of the records for an upstream name, [`Duration::MAX`]
    /// for an address literal, and zero for the `hosts` file, `getaddrinfo` and loopback addresses
    /// ([`LocalAddresses`](crate::LocalAddresses)).
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl IntoIterator for Lookup {
    type Item = IpAddr;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter::new(self.addresses)
    }
}

/// A host name that is stored inline if it has at most 56 bytes.
#[derive(Clone, Eq, PartialEq)]
struct InlineName(SmallVec<[u8; 56]>);

impl InlineName {
    #[inline]
    fn new(text: &str) -> Self {
        Self(SmallVec::from_slice(text.as_bytes()))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for InlineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
