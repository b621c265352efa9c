//! A list of addresses that is optimised for one address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::{Deref, DerefMut},
};

use smallvec::SmallVec;

use crate::iter::INLINE;

/// A list that stores up to [`INLINE`] addresses inline.
pub(super) type InlineIps = OneOrMany<SmallVec<[IpAddr; INLINE]>>;

/// A list of addresses. It stores one address inline and several addresses on the heap, so that the type is small.
pub(crate) type Ips = OneOrMany<Vec<IpAddr>>;

/// One address, or any number of addresses. Most answers have one address. The variant for one address is cheaper to
/// move than the space for several addresses.
#[derive(Clone, Debug)]
pub(crate) enum OneOrMany<S> {
    One([IpAddr; 1]),
    Many(S),
}

impl<S: FromIterator<IpAddr> + DerefMut<Target = [IpAddr]>> OneOrMany<S> {
    /// Collects the addresses, IPv4 first, and shuffles each family, so that the pods of a headless service get equal
    /// shares (`pkg/dns/client/dns.go`, `roundRobinResponse`). The families are not mixed, because most callers dial
    /// the addresses in order.
    pub(crate) fn shuffled(v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Self {
        if let ([only], []) = (v4, v6) {
            return Self::One([IpAddr::V4(*only)]);
        }
        let all = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
        let mut ips: S = all.collect();
        let (first, second) = ips.split_at_mut(v4.len());
        shuffle(first);
        shuffle(second);
        Self::Many(ips)
    }
}

fn shuffle(ips: &mut [IpAddr]) {
    if ips.len() > 1 {
        fastrand::shuffle(ips);
    }
}

impl<S: Deref<Target = [IpAddr]>> Deref for OneOrMany<S> {
    type Target = [IpAddr];

    #[inline]
    fn deref(&self) -> &[IpAddr] {
        match self {
            Self::One(only) => only,
            Self::Many(all) => all,
        }
    }
}

impl<S: Deref<Target = [IpAddr]>> PartialEq for OneOrMany<S> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<S: Deref<Target = [IpAddr]>> Eq for OneOrMany<S> {}

impl<S: FromIterator<IpAddr>> FromIterator<IpAddr> for OneOrMany<S> {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> Self {
        Self::Many(ips.into_iter().collect())
    }
}

impl<S: Into<SmallVec<[IpAddr; INLINE]>>> IntoIterator for OneOrMany<S> {
    type Item = IpAddr;
    type IntoIter = smallvec::IntoIter<[IpAddr; INLINE]>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(only) => SmallVec::from_slice(&only).into_iter(),
            Self::Many(all) => all.into().into_iter(),
        }
    }
}
