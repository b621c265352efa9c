//! Addresses, with the usual case apart.

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use smallvec::SmallVec;

/// So many addresses need no allocation where none shall be made.
pub(super) const INLINE: usize = 8;

/// Addresses of which a few need no allocation.
pub(crate) type Few = OneOr<SmallVec<[IpAddr; INLINE]>>;

/// Addresses that take little room themselves.
pub(crate) type Ips = OneOr<Vec<IpAddr>>;

/// One address, or any other number. One is nearly every answer, and is written where it belongs, instead of being moved
/// there with the room for others.
#[derive(Clone, Debug)]
pub(crate) enum OneOr<S> {
    One([IpAddr; 1]),
    Several(S),
}

/// Where several addresses are collected.
pub(crate) trait List: Default + Extend<IpAddr> + DerefMut<Target = [IpAddr]> {}

impl<S: Default + Extend<IpAddr> + DerefMut<Target = [IpAddr]>> List for S {}

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
