//! Virtual IPs for service entries without addresses, as Istio's controller allocates them: sequential, and stable
//! while istiod runs (istio `pilot/pkg/controllers/ipallocate/ipallocate.go`).

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An allocator of virtual IPs. Each new host gets the next free addresses of 240.240.0.0/16 and 2001:2::/48.
#[derive(Debug, Default)]
pub(crate) struct VipAllocator {
    assigned: HashMap<Owner, (Ipv4Addr, Ipv6Addr)>,
    used: BTreeSet<IpAddr>,
    last: u16,
}

/// The host of one service entry. An entry that is deleted and created again gets different addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) namespace: String,
    pub(crate) entry: String,
    pub(crate) host: String,
}

impl VipAllocator {
    /// Marks an address as used, from `spec.addresses` or from the status that another allocator wrote.
    pub(crate) fn reserve(&mut self, address: IpAddr) {
        self.used.insert(address);
    }

    /// Returns the virtual IPs of the host `owner`. Every call for the same owner returns the same addresses. Returns
    /// `None` if the IPv4 or the IPv6 range has no free address left.
    pub(crate) fn assign(&mut self, owner: &Owner) -> Option<(Ipv4Addr, Ipv6Addr)> {
        if let Some(addresses) = self.assigned.get(owner) {
            return Some(*addresses);
        }
        while self.last < u16::MAX - 1 {
            self.last += 1;
            let [high, low] = self.last.to_be_bytes();
            let v4 = Ipv4Addr::new(240, 240, high, low);
            let v6 = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, self.last);
            if !self.used.contains(&IpAddr::V4(v4)) && !self.used.contains(&IpAddr::V6(v6)) {
                self.assigned.insert(owner.clone(), (v4, v6));
                return Some((v4, v6));
            }
        }
        None
    }

    /// Removes the hosts that no longer exist. Their addresses are not reused (istio `ipallocate.go`).
    pub(crate) fn retain(&mut self, live: &BTreeSet<Owner>) {
        self.assigned.retain(|owner, _| live.contains(owner));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Owner, VipAllocator};

    fn owner(host: &str) -> Owner {
        Owner { namespace: "a".to_owned(), entry: "b".to_owned(), host: host.to_owned() }
    }

    #[test]
    fn a_host_keeps_its_address_and_a_recreated_host_gets_another() {
        let mut vips = VipAllocator::default();
        let one = vips.assign(&owner("one")).unwrap();
        let two = vips.assign(&owner("two")).unwrap();
        assert_eq!(one.0.to_string(), "240.240.0.1");
        assert_eq!(two.0.to_string(), "240.240.0.2");
        assert_eq!(vips.assign(&owner("one")), Some(one));
        vips.retain(&BTreeSet::new());
        assert_eq!(vips.assign(&owner("one")).unwrap().0.to_string(), "240.240.0.3");
    }

    #[test]
    fn a_reserved_address_is_not_allocated() {
        let mut vips = VipAllocator::default();
        vips.reserve("240.240.0.1".parse().unwrap());
        assert_eq!(vips.assign(&owner("one")).unwrap().0.to_string(), "240.240.0.2");
    }
}
