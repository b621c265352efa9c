//! A list of addresses, with the usual case apart.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

use smallvec::SmallVec;

/// The number of addresses that need no allocation.
pub(super) const INLINE: usize = 8;

/// One address, or any other number. One is nearly every answer, and is written in place, instead of being moved there with
/// the room for others.
#[derive(Clone, Debug)]
pub(crate) enum Ips {
    One([IpAddr; 1]),
    Several(SmallVec<[IpAddr; INLINE]>),
}

impl Ips {
    /// Istio's proxy shuffles each answer (`roundRobinResponse`), so that the members of a headless service get equal
    /// shares. Families are kept apart, because most callers dial in the order given.
    #[inline]
    pub(crate) fn shuffled(v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Self {
        match (v4, v6) {
            ([only], []) => Self::One([IpAddr::V4(*only)]),
            _ => Self::several(v4, v6),
        }
    }

    fn several(v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Self {
        let mut ips: SmallVec<_> = v4.iter().copied().map(IpAddr::V4).collect();
        shuffle(&mut ips);
        ips.extend(v6.iter().copied().map(IpAddr::V6));
        shuffle(&mut ips[v4.len()..]);
        Self::Several(ips)
    }
}

fn shuffle(ips: &mut [IpAddr]) {
    if ips.len() > 1 {
        fastrand::shuffle(ips);
    }
}

impl Deref for Ips {
    type Target = [IpAddr];

    #[inline]
    fn deref(&self) -> &[IpAddr] {
        match self {
            Self::One(only) => only,
            Self::Several(all) => all,
        }
    }
}

impl PartialEq for Ips {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Ips {}

impl FromIterator<IpAddr> for Ips {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> Self {
        Self::Several(ips.into_iter().collect())
    }
}

impl IntoIterator for Ips {
    type Item = IpAddr;
    type IntoIter = smallvec::IntoIter<[IpAddr; INLINE]>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(only) => SmallVec::from_slice(&only).into_iter(),
            Self::Several(all) => all.into_iter(),
        }
    }
}
