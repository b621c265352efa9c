//! Hosts other than this one. A datagram says where it comes from and may lie, so what is sent there is bounded: in length,
//! so that little is gained by a forged sender, and in number, so that nothing is. Whoever really asks is sent to TCP,
//! where a sender cannot be forged (response rate limiting, as name servers on the internet do it).

use std::{
    cell::Cell,
    hash::BuildHasher as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use super::respond::Transport;
use crate::dns::EDNS_UDP_SIZE;

/// The longest answer that fits into a datagram.
const MOST_AT_HOME: u16 = 65_507;

pub(super) fn transport(peer: SocketAddr) -> Transport {
    Transport::Udp { most: if is_at_home(peer.ip()) { MOST_AT_HOME } else { EDNS_UDP_SIZE } }
}

fn is_at_home(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// How many datagrams came from each network of other hosts in this second. Networks share a place now and then, and then
/// what they may have: memory stays what it is, whoever asks.
pub(super) struct Rate {
    /// How many each may send.
    most: u32,
    places: Box<[Cell<Place>]>,
    /// Nobody outside can tell which networks share a place.
    hasher: RandomState,
    start: Instant,
}

#[derive(Clone, Copy, Default)]
struct Place {
    second: Duration,
    came: u32,
}

const PLACES: usize = 4096;

impl Rate {
    pub(super) fn new(most: u32, start: Instant) -> Self {
        Self { most, places: vec![Cell::default(); PLACES].into(), hasher: RandomState::default(), start }
    }

    /// Counts a datagram, and says whether it is one too many. This host may send as many as it likes. `now` is asked for
    /// only where it matters.
    pub(super) fn is_exceeded(&self, peer: IpAddr, now: impl FnOnce() -> Instant) -> bool {
        if is_at_home(peer) {
            return false;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the low bits of a hash")]
        let place = &self.places[self.hasher.hash_one(network(peer)) as usize % PLACES];
        let second = Duration::from_secs(now().saturating_duration_since(self.start).as_secs());
        let before = Some(place.get()).filter(|place| place.second == second);
        let came = before.map_or(0, |place| place.came).saturating_add(1);
        place.set(Place { second, came });
        came > self.most
    }
}

/// Whoever forges senders may choose any of a network: IPv4 /24, IPv6 /56.
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

    /// How many of so many datagrams are not one too many, after so many seconds.
    fn admitted(rate: &Rate, peers: &[&str], seconds: u64) -> usize {
        let now = rate.start + Duration::from_secs(seconds);
        (0..100).filter(|at| !rate.is_exceeded(ip(peers[at % peers.len()]), || now)).count()
    }

    #[test]
    fn a_network_of_other_hosts_may_send_so_many_datagrams_each_second() {
        let rate = Rate::new(10, Instant::now());
        for second in [0, 1, 2, 60] {
            assert_eq!(admitted(&rate, &["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.7"], second), 10);
            assert_eq!(admitted(&rate, &["2001:db8::1", "2001:db8:0:ff::1"], second), 10);
        }
    }

    #[test]
    fn this_host_may_send_as_many_as_it_likes_and_no_clock_is_read_for_it() {
        let rate = Rate::new(0, Instant::now());
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!rate.is_exceeded(ip(peer), || unreachable!("the clock")), "{peer}");
        }
    }

    #[test]
    fn networks_do_not_take_from_each_other() {
        let rate = Rate::new(10, Instant::now());
        // Two of a thousand may share a place; that all do cannot be chance.
        let full = (0..1000u32).filter(|network| {
            let peer = format!("10.{}.{}.1", network / 256, network % 256);
            admitted(&rate, &[&peer], 0) == 10
        });
        assert!(full.count() > 700);
    }

    #[test]
    fn answers_to_other_hosts_are_short() {
        let most = |peer: &str| transport(SocketAddr::new(ip(peer), 1000));
        assert_eq!(most("192.0.2.1"), Transport::Udp { most: 1232 });
        assert_eq!(most("::ffff:127.0.0.1"), Transport::Udp { most: 65_507 });
    }
}
