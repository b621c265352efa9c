//! A list of addresses, with the usual case apart.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::{Deref, DerefMut},
};

use smallvec::SmallVec;

/// The number of addresses that need no allocation.
pub(super) const INLINE: usize = 8;

/// Addresses of which a few need no allocation.
pub(super) type Few = OneOr<SmallVec<[IpAddr; INLINE]>>;

/// Addresses that take little room themselves.
pub(crate) type Ips = OneOr<Vec<IpAddr>>;

/// One address, or any other number. One is nearly every answer, and is written in place, instead of being moved there with
/// the room for others.
#[derive(Clone, Debug)]
pub(crate) enum OneOr<S> {
    One([IpAddr; 1]),
    Several(S),
}

impl<S: FromIterator<IpAddr> + DerefMut<Target = [IpAddr]>> OneOr<S> {
    /// Istio's proxy shuffles each answer (`roundRobinResponse`), so that the members of a headless service get equal
    /// shares. Families are kept apart, because most callers dial in the order given.
    pub(crate) fn shuffled(v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Self {
        if let ([only], []) = (v4, v6) {
            return Self::One([IpAddr::V4(*only)]);
        }
        let all = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
        let mut ips: S = all.collect();
        let (first, second) = ips.split_at_mut(v4.len());
        shuffle(first);
        shuffle(second);
        Self::Several(ips)
    }
}

fn shuffle(ips: &mut [IpAddr]) {
    if ips.len() > 1 {
        fastrand::shuffle(ips);
    }
}

impl<S: Deref<Target = [IpAddr]>> Deref for OneOr<S> {
    type Target = [IpAddr];

    #[inline]
    fn deref(&self) -> &[IpAddr] {
        match self {
            Self::One(only) => only,
            Self::Several(all) => all,
        }
    }
}

impl<S: Deref<Target = [IpAddr]>> PartialEq for OneOr<S> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<S: Deref<Target = [IpAddr]>> Eq for OneOr<S> {}

impl<S: FromIterator<IpAddr>> FromIterator<IpAddr> for OneOr<S> {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> Self {
        Self::Several(ips.into_iter().collect())
    }
}

impl<S: Into<SmallVec<[IpAddr; INLINE]>>> IntoIterator for OneOr<S> {
    type Item = IpAddr;
    type IntoIter = smallvec::IntoIter<[IpAddr; INLINE]>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(only) => SmallVec::from_slice(&only).into_iter(),
            Self::Several(all) => all.into().into_iter(),
        }
    }
}
