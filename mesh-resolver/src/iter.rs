//! Iterators over the addresses of an answer.

use std::{iter::FusedIterator, net::IpAddr};

/// The number of addresses that an answer stores without an allocation.
pub(crate) const INLINE: usize = 8;

/// An owning iterator over the addresses of an [`Addresses`](crate::Addresses) or a [`Lookup`](crate::Lookup).
#[derive(Clone, Debug)]
pub struct IntoIter(smallvec::IntoIter<[IpAddr; INLINE]>);

impl IntoIter {
    pub(crate) fn new(addresses: impl IntoIterator<IntoIter = smallvec::IntoIter<[IpAddr; INLINE]>>) -> Self {
        Self(addresses.into_iter())
    }
}

impl Iterator for IntoIter {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for IntoIter {
    fn next_back(&mut self) -> Option<IpAddr> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for IntoIter {}

impl FusedIterator for IntoIter {}
