//! What this process last resolved, so that an address it dials can be traced back to a name.
//!
//! Addresses of the mesh are ambiguous: two clusters give one ClusterIP to two services. What a caller means by an
//! address is most likely the name it got the address for.

use std::{collections::HashMap, mem, net::IpAddr, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Address to mesh name, for the last few thousand addresses that were handed out.
///
/// Two generations bound it without any bookkeeping per use: when the young one is full it becomes the old one, and
/// the old one is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<IpAddr, Arc<str>, RandomState>;

/// Addresses per generation.
const CAPACITY: usize = 2048;

impl Recent {
    /// Records that these are the addresses of the mesh name, and returns the name to keep: the one that is already
    /// recorded where it is the same, so that a name resolved again and again is not copied again and again.
    pub(crate) fn record(&self, name: &str, addresses: &[IpAddr]) -> Arc<str> {
        let mut generations = self.0.lock();
        // The usual case, one address that was handed out lately, is one look.
        if let [ip] = addresses
            && let Some(known) = generations.young.get(ip)
            && **known == *name
        {
            return known.clone();
        }
        let known = addresses.first().and_then(|ip| generations.get(ip)).filter(|known| &***known == name);
        let name = known.cloned().unwrap_or_else(|| name.into());
        for ip in addresses {
            generations.insert(*ip, &name);
        }
        name
    }

    /// Records that these addresses belong to something outside the mesh.
    pub(crate) fn forget(&self, addresses: &[IpAddr]) {
        let mut generations = self.0.lock();
        for ip in addresses {
            generations.young.remove(ip);
            generations.old.remove(ip);
        }
    }

    /// The mesh name that the address was last handed out for.
    pub(crate) fn name(&self, ip: IpAddr) -> Option<Arc<str>> {
        self.0.lock().get(&ip).cloned()
    }
}

impl Generations {
    fn get(&self, ip: &IpAddr) -> Option<&Arc<str>> {
        self.young.get(ip).or_else(|| self.old.get(ip))
    }

    fn insert(&mut self, ip: IpAddr, name: &Arc<str>) {
        if let Some(known) = self.young.get_mut(&ip) {
            if !Arc::ptr_eq(known, name) {
                *known = name.clone();
            }
            return;
        }
        if self.young.len() >= CAPACITY {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(ip, name.clone());
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
        let first = recent.record("a", &[ip(1)]);
        assert!(Arc::ptr_eq(&first, &recent.record("a", &[ip(1)])));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let recent = Recent::default();
        for number in 0..10 * CAPACITY {
            recent.record("a", &[ip(number)]);
        }
        let generations = recent.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * CAPACITY);
        drop(generations);
        assert_eq!(recent.name(ip(0)), None);
        assert!(recent.name(ip(10 * CAPACITY - 1)).is_some());
    }
}
