//! What this process last resolved, so that an address it dials can be traced back to a name.
//!
//! Addresses of the mesh are ambiguous: two clusters give one ClusterIP to two services. What a caller means by an
//! address is most likely the name it got the address for.

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

/// Address to mesh name, for the last few thousand addresses that were handed out. What was just recorded is recorded again
/// without a lock: nearly all lookups are of that kind.
#[derive(Debug)]
pub(crate) struct Recent {
    names: Mutex<BoundedMap<IpAddr, Arc<str>, RandomState>>,
    /// For a few addresses, a hash of address and name as they were last recorded. Written under the lock.
    latest: Box<[AtomicU64; LATEST]>,
    hasher: RandomState,
}

/// Addresses per generation.
const CAPACITY: usize = 2048;

/// Addresses whose record is known without a lock.
const LATEST: usize = 1024;

/// No record.
const NONE: u64 = 0;

impl Recent {
    /// Records that these are the addresses of the mesh name.
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
                // Addresses that are still resolved move to the new generation.
                self.latest.iter().for_each(|latest| latest.store(NONE, Relaxed));
            }
            self.latest(*ip).store(self.mark(*ip, &name), Relaxed);
        }
    }

    /// Records that these addresses belong to something outside the mesh.
    pub(crate) fn forget(&self, addresses: &[IpAddr]) {
        let mut names = self.names.lock();
        for ip in addresses {
            names.remove(ip);
            self.latest(*ip).store(NONE, Relaxed);
        }
    }

    /// The mesh name that the address was last handed out for.
    pub(crate) fn name(&self, ip: IpAddr) -> Option<Arc<str>> {
        self.names.lock().peek(&ip).cloned()
    }

    /// Where the last record of an address is noted; addresses share a place.
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

impl Default for Recent {
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
    fn an_address_leads_to_the_name_it_was_last_handed_out_for() {
        let recent = Recent::default();
        recent.record("a", &[ip(1), ip(2)]);
        recent.record("b", &[ip(2)]);
        assert_eq!(recent.name(ip(1)).as_deref(), Some("a"));
        assert_eq!(recent.name(ip(2)).as_deref(), Some("b"));
        assert_eq!(recent.name(ip(3)), None);
    }

    #[test]
    fn an_address_that_upstream_dns_gave_for_another_name_is_no_longer_the_meshs() {
        let recent = Recent::default();
        recent.record("a", &[ip(1), ip(2)]);
        recent.forget(&[ip(1)]);
        assert_eq!(recent.name(ip(1)), None);
        assert_eq!(recent.name(ip(2)).as_deref(), Some("a"));
    }

    #[test]
    fn a_name_resolved_again_is_not_copied_again() {
        let recent = Recent::default();
        let names = || recent.name(ip(1)).unwrap();
        recent.record("a", &[ip(1)]);
        let first = names();
        recent.record("a", &[ip(1), ip(2)]);
        assert!(Arc::ptr_eq(&first, &names()));
    }

    /// The note that spares the lock must not outlive what it is about.
    #[test]
    fn a_name_recorded_again_after_another_had_its_address_counts_again() {
        let recent = Recent::default();
        // The second address shares its place with the first one.
        for other in [ip(1), ip(1 + LATEST)] {
            recent.record("a", &[ip(1)]);
            recent.record("b", &[other]);
            recent.record("a", &[ip(1)]);
            assert_eq!(recent.name(ip(1)).as_deref(), Some("a"));
            recent.forget(&[other]);
            recent.record("b", &[other]);
            assert_eq!(recent.name(other).as_deref(), Some("b"));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let recent = Recent::default();
        for number in 0..10 * CAPACITY {
            recent.record("a", &[ip(number)]);
        }
        assert!(recent.names.lock().weight() <= 2 * CAPACITY);
        assert_eq!(recent.name(ip(0)), None);
        assert!(recent.name(ip(10 * CAPACITY - 1)).is_some());
    }

    #[test]
    fn an_address_that_is_resolved_again_and_again_is_never_forgotten() {
        let recent = Recent::default();
        for number in 1..10 * CAPACITY {
            recent.record("a", &[ip(0)]);
            recent.record("b", &[ip(number)]);
            assert_eq!(recent.name(ip(0)).as_deref(), Some("a"));
        }
    }
}
