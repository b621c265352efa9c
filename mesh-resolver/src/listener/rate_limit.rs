//! Response rate limiting (RRL) for clients on other hosts.
//!
//! The source address of a datagram may be forged. Responses to other hosts are therefore limited in size, which
//! reduces the gain of an amplification attack, and in rate. A genuine client retries over TCP, where the source
//! address is verified.

use std::{
    cell::Cell,
    hash::BuildHasher as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;

use super::respond::Transport;
use crate::dns::EDNS_UDP_SIZE;

/// The largest payload of a UDP datagram.
const MAX_DATAGRAM: u16 = 65_507;

pub(super) fn udp_transport(peer: SocketAddr) -> Transport {
    Transport::Udp { max_size: if is_local(peer.ip()) { MAX_DATAGRAM } else { EDNS_UDP_SIZE } }
}

fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// Counts the datagrams per second from each client network (address prefix) outside this host. The number of counters
/// is fixed: prefixes with the same hash share a counter.
pub(super) struct RateLimiter {
    /// The maximum number of datagrams per second from each client network.
    limit: u32,
    buckets: Box<[Cell<Bucket>]>,
    /// A random seed, so that attackers cannot predict which networks share a counter.
    hasher: RandomState,
    start: Instant,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    second: Duration,
    count: u32,
}

const BUCKETS: usize = 4096;

impl RateLimiter {
    pub(super) fn new(limit: u32, start: Instant) -> Self {
        Self { limit, buckets: vec![Cell::default(); BUCKETS].into(), hasher: RandomState::default(), start }
    }

    /// Counts a datagram and returns whether its network exceeds the limit. Datagrams from this host have no limit. The
    /// clock is read only for other hosts.
    pub(super) fn is_exceeded(&self, peer: IpAddr, now: impl FnOnce() -> Instant) -> bool {
        if is_local(peer) {
            return false;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the low bits of the hash are sufficient")]
        let bucket = &self.buckets[self.hasher.hash_one(network(peer)) as usize % BUCKETS];
        let second = Duration::from_secs(now().saturating_duration_since(self.start).as_secs());
        let before = Some(bucket.get()).filter(|bucket| bucket.second == second);
        let count = before.map_or(0, |bucket| bucket.count).saturating_add(1);
        bucket.set(Bucket { second, count });
        count > self.limit
    }
}

/// Returns the network of an address: IPv4 /24, IPv6 /56. An attacker can forge any address of a network.
fn network(peer: IpAddr) -> (bool, u64) {
    match peer.to_canonical() {
        IpAddr::V4(ip) => (false, u64::from(ip.to_bits() >> 8)),
        IpAddr::V6(ip) => (true, (ip.to_bits() >> 72) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Returns how many of 100 datagrams are within the limit at the given time.
    fn admitted(rate: &RateLimiter, peers: &[&str], seconds: u64) -> usize {
        let now = rate.start + Duration::from_secs(seconds);
        (0..100).filter(|at| !rate.is_exceeded(ip(peers[at % peers.len()]), || now)).count()
    }

    #[test]
    fn the_limit_applies_to_each_network_and_each_second() {
        let rate = RateLimiter::new(10, Instant::now());
        for second in [0, 1, 2, 60] {
            assert_eq!(admitted(&rate, &["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.7"], second), 10);
            assert_eq!(admitted(&rate, &["2001:db8::1", "2001:db8:0:ff::1"], second), 10);
        }
    }

    #[test]
    fn this_host_has_no_limit_and_its_datagrams_do_not_read_the_clock() {
        let rate = RateLimiter::new(0, Instant::now());
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!rate.is_exceeded(ip(peer), || unreachable!("the clock")), "{peer}");
        }
    }

    #[test]
    fn networks_have_separate_limits() {
        let rate = RateLimiter::new(10, Instant::now());
        // Some of the thousand networks share a counter.
        let full = (0..1000u32).filter(|network| {
            let peer = format!("10.{}.{}.1", network / 256, network % 256);
            admitted(&rate, &[&peer], 0) == 10
        });
        assert!(full.count() > 700);
    }

    #[test]
    fn responses_to_other_hosts_are_small() {
        let max_size = |peer: &str| udp_transport(SocketAddr::new(ip(peer), 1000));
        assert_eq!(max_size("192.0.2.1"), Transport::Udp { max_size: 1232 });
        assert_eq!(max_size("::ffff:127.0.0.1"), Transport::Udp { max_size: 65_507 });
    }
}
