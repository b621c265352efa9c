//! Maps the addresses that this process resolved recently back to their mesh names.
//!
//! Mesh addresses are ambiguous, because two clusters may assign one ClusterIP to two services. A caller that dials
//! an address most likely means the name that it resolved to this address.

use std::{
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use sidestep_util::bounded_map::BoundedMap;

/// A bounded map from addresses to mesh names. Nearly all lookups record a pair of address and name that was recorded
/// recently; this needs no lock.
#[derive(Debug)]
pub(crate) struct ReverseIndex {
    names: Mutex<BoundedMap<IpAddr, Arc<str>, RandomState>>,
    /// Hashes of recently recorded pairs of address and name. They are written under the lock.
    latest: Box<[AtomicU64; LATEST]>,
    hasher: RandomState,
}

/// The number of addresses in one generation of the [`BoundedMap`].
const CAPACITY: usize = 2048;

/// The number of slots in [`ReverseIndex::latest`], each for the hash of one recently recorded pair.
const LATEST: usize = 1024;

/// The value of an unused slot in [`ReverseIndex::latest`].
const NONE: u64 = 0;

impl ReverseIndex {
    /// Records the addresses of a mesh name.
    #[inline]
    pub(crate) fn record(&self, name: &str, addresses: &[IpAddr]) {
        if !addresses.iter().all(|ip| self.latest(*ip).load(Relaxed) == self.mark(*ip, name)) {
            self.record_anew(name, addresses);
        }
    }

    fn record_anew(&self, name: &str, addresses: &[IpAddr]) {
        let mut names = self.names.lock();
        let known = addresses.first().and_then(|ip| names.peek(ip)).filter(|known| &***known == name);
        let name = known.cloned().unwrap_or_else(|| name.into());
        for ip in addresses {
            if names.insert(*ip, name.clone(), 1) {
                // The map started a new generation. Without their hashes, addresses that are still in use are recorded
                // again, in the new generation.
                self.latest.iter().for_each(|latest| latest.store(NONE, Relaxed));
            }
            self.latest(*ip).store(self.mark(*ip, &name), Relaxed);
        }
    }

    /// Removes addresses that were resolved for a host outside the mesh.
    pub(crate) fn forget(&self, addresses: &[IpAddr]) {
        let mut names = self.names.lock();
        for ip in addresses {
            names.remove(ip);
            self.latest(*ip).store(NONE, Relaxed);
        }
    }

    /// Returns the mesh name that was last resolved to the address.
    pub(crate) fn name(&self, ip: IpAddr) -> Option<Arc<str>> {
        self.names.lock().peek(&ip).cloned()
    }

    /// Returns the slot for the hash of the pair of this address and its name. Several addresses share a slot.
    fn latest(&self, ip: IpAddr) -> &AtomicU64 {
        let bits = match ip {
            IpAddr::V4(ip) => ip.to_bits(),
            IpAddr::V6(ip) => {
                ip.segments().into_iter().fold(0, |bits: u32, part| bits.rotate_left(5) ^ u32::from(part))
            }
        };
        // The low bits of addresses differ most.
        let at = (bits ^ bits >> 10 ^ bits >> 20) as usize;
        &self.latest[at % LATEST]
    }

    fn mark(&self, ip: IpAddr, name: &str) -> u64 {
        self.hasher.hash_one((ip, name)) | 1
    }
}

impl Default for ReverseIndex {
    fn default() -> Self {
        let latest = Box::new([const { AtomicU64::new(NONE) }; LATEST]);
        Self { names: Mutex::new(BoundedMap::new(CAPACITY)), latest, hasher: RandomState::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(number: usize) -> IpAddr {
        Ipv4Addr::from(u32::try_from(number).unwrap()).into()
    }

    #[test]
    fn an_address_maps_to_the_name_that_was_last_resolved_to_it() {
        let index = ReverseIndex::default();
        index.record("a", &[ip(1), ip(2)]);
        index.record("b", &[ip(2)]);
        assert_eq!(index.name(ip(1)).as_deref(), Some("a"));
        assert_eq!(index.name(ip(2)).as_deref(), Some("b"));
        assert_eq!(index.name(ip(3)), None);
    }

    #[test]
    fn an_address_from_upstream_dns_no_longer_maps_to_a_mesh_name() {
        let index = ReverseIndex::default();
        index.record("a", &[ip(1), ip(2)]);
        index.forget(&[ip(1)]);
        assert_eq!(index.name(ip(1)), None);
        assert_eq!(index.name(ip(2)).as_deref(), Some("a"));
    }

    #[test]
    fn resolving_a_name_again_does_not_copy_it() {
        let index = ReverseIndex::default();
        let names = || index.name(ip(1)).unwrap();
        index.record("a", &[ip(1)]);
        let first = names();
        index.record("a", &[ip(1), ip(2)]);
        assert!(Arc::ptr_eq(&first, &names()));
    }

    /// The hash must not outlive the pair that it stands for.
    #[test]
    fn a_name_can_regain_its_address_from_another_name() {
        let index = ReverseIndex::default();
        // The second address shares the slot of the first one.
        for other in [ip(1), ip(1 + LATEST)] {
            index.record("a", &[ip(1)]);
            index.record("b", &[other]);
            index.record("a", &[ip(1)]);
            assert_eq!(index.name(ip(1)).as_deref(), Some("a"));
            index.forget(&[other]);
            index.record("b", &[other]);
            assert_eq!(index.name(other).as_deref(), Some("b"));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_address_is_evicted_first() {
        let index = ReverseIndex::default();
        for number in 0..10 * CAPACITY {
            index.record("a", &[ip(number)]);
        }
        assert!(index.names.lock().weight() <= 2 * CAPACITY);
        assert_eq!(index.name(ip(0)), None);
        assert!(index.name(ip(10 * CAPACITY - 1)).is_some());
    }

    #[test]
    fn an_address_that_is_resolved_repeatedly_is_never_evicted() {
        let index = ReverseIndex::default();
        for number in 1..10 * CAPACITY {
            index.record("a", &[ip(0)]);
            index.record("b", &[ip(number)]);
            assert_eq!(index.name(ip(0)).as_deref(), Some("a"));
        }
    }
}
