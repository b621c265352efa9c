use std::{cell::Cell, rc::Rc, time::Duration};

use proptest::prelude::*;

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);
/// The number of endpoints, each with its own key.
const KEYS: usize = 3;

/// A connection that the pool and the model share.
#[derive(Clone, Debug)]
struct Fake(Rc<Peer>);

#[derive(Debug)]
struct Peer {
    number: usize,
    shared: bool,
    capacity: Cell<u32>,
    open: Cell<bool>,
}

impl Sender for Fake {
    fn share(&self) -> Option<Self> {
        self.0.shared.then(|| self.clone())
    }

    fn is_open(&self) -> bool {
        self.0.open.get()
    }

    fn capacity(&self) -> u32 {
        self.0.capacity.get()
    }
}

fn connection(number: usize, capacity: u32) -> Fake {
    let (shared, capacity, open) = (capacity > 1, Cell::new(capacity), Cell::new(true));
    Fake(Rc::new(Peer { number, shared, capacity, open }))
}

fn pool(limits: Limits) -> Connections<usize, Fake, ()> {
    Connections::new(limits)
}

const UNLIMITED: Limits = Limits { idle_timeout: None, max_duration: None, max_requests: None };

/// Adds a connection with one request.
fn connect(pool: &mut Connections<usize, Fake, ()>, peer: &Fake, now: Instant) -> Id {
    let ticket = pool.begin();
    pool.add(ticket, 0, peer, now).unwrap()
}

fn check_in(pool: &mut Connections<usize, Fake, ()>, id: Id, peer: Fake, now: Instant) {
    pool.check_in((0, id), Some(peer), now, usize::MAX);
}

fn next(pool: &mut Connections<usize, Fake, ()>, now: Instant) -> Option<usize> {
    pool.check_out(0, now).map(|(_, peer)| peer.0.number)
}

#[test]
fn the_most_recently_used_idle_connection_serves_first() {
    let (mut pool, now) = (pool(UNLIMITED), Instant::now());
    let peers: Vec<_> = (0..3).map(|number| connection(number, 1)).collect();
    let ids: Vec<_> = peers.iter().map(|peer| connect(&mut pool, peer, now)).collect();
    assert_eq!(next(&mut pool, now), None, "all are busy");
    for used in [1, 0, 2] {
        check_in(&mut pool, ids[used], peers[used].clone(), now);
    }
    assert_eq!([(); 4].map(|()| next(&mut pool, now)), [Some(2), Some(0), Some(1), None]);
}

#[test]
fn streams_share_a_connection_up_to_the_limit_of_the_peer() {
    let (mut pool, now) = (pool(UNLIMITED), Instant::now());
    let peer = connection(0, 2);
    let id = connect(&mut pool, &peer, now);
    assert_eq!([(); 2].map(|()| next(&mut pool, now)), [Some(0), None]);
    check_in(&mut pool, id, peer, now);
    assert_eq!(next(&mut pool, now), Some(0));
}

#[test]
fn a_request_limits_the_number_of_idle_connections() {
    let (mut pool, now) = (pool(UNLIMITED), Instant::now());
    let peers = [connection(0, 1), connection(1, 1)];
    for (id, peer) in peers.each_ref().map(|peer| (connect(&mut pool, peer, now), peer)) {
        pool.check_in((0, id), Some(peer.clone()), now, 1);
    }
    assert_eq!([(); 2].map(|()| next(&mut pool, now)), [Some(0), None]);
}

#[test]
fn requests_join_an_attempt_until_it_ends() {
    let mut pool = pool(UNLIMITED);
    let ticket = pool.begin_shared(0, ());
    for _ in 1..ASSUMED_STREAMS {
        assert!(pool.join(0).is_some());
    }
    assert!(pool.join(0).is_none(), "the attempt has no room for more requests");
    assert!(pool.join(1).is_none());
    pool.end(0, ticket);
    assert!(pool.join(0).is_none());
    assert!(pool.endpoints.is_empty());
}

#[test]
fn no_request_joins_an_attempt_started_before_a_change_of_policy() {
    type Change = fn(&mut Connections<usize, Fake, ()>);
    let changes: [Change; 2] = [|pool| pool.retain(|_| false), Connections::drain];
    for change in changes {
        let mut pool = pool(UNLIMITED);
        pool.begin_shared(0, ());
        change(&mut pool);
        assert!(pool.join(0).is_none());
        assert!(pool.endpoints.is_empty());
    }
}

#[test]
fn the_next_check_of_a_busy_connection_is_at_its_earliest_end() {
    let (idle, age) = (20 * MILLISECOND, 50 * MILLISECOND);
    let mut pool = pool(Limits { idle_timeout: Some(idle), max_duration: Some(age), max_requests: None });
    let begin = Instant::now();
    let peer = connection(0, 1);
    let id = connect(&mut pool, &peer, begin);
    assert_eq!(pool.expire(0, id, begin), Some(begin + idle));
    assert_eq!(pool.expire(0, id, begin + idle), Some(begin + 2 * idle));
    check_in(&mut pool, id, peer, begin + idle + MILLISECOND);
    assert_eq!(pool.expire(0, id, begin + 2 * idle), Some(begin + 2 * idle + MILLISECOND));
    assert_eq!(pool.expire(0, id, begin + 2 * idle + MILLISECOND), None);
    assert!(pool.endpoints.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Takes a connection to an endpoint, or starts an attempt.
    Request(usize),
    /// An attempt succeeds with a connection to an endpoint.
    Connected(usize, usize),
    AttemptFailed(usize),
    Answered(usize),
    BrokenOff(usize),
    Time(u8),
    PeerCloses(usize),
    /// The peer of an HTTP/2 connection changes its limit.
    Limit(usize, u32),
    /// The driver of a connection checks it.
    Check(usize),
    Retain(u8),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = 0..KEYS;
    let one = any::<usize>();
    prop_oneof![
        8 => endpoint.clone().prop_map(Step::Request),
        8 => (one, endpoint).prop_map(|(attempt, endpoint)| Step::Connected(attempt, endpoint)),
        1 => one.prop_map(Step::AttemptFailed),
        8 => one.prop_map(Step::Answered),
        1 => one.prop_map(Step::BrokenOff),
        3 => any::<u8>().prop_map(Step::Time),
        1 => one.prop_map(Step::PeerCloses),
        1 => (one, 0..4_u32).prop_map(|(connection, limit)| Step::Limit(connection, limit)),
        4 => one.prop_map(Step::Check),
        1 => (0..8_u8).prop_map(Step::Retain),
        1 => Just(Step::Drain),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let time = || proptest::option::of((1..300_u64).prop_map(Duration::from_millis));
    (time(), time(), proptest::option::of(1..5_u32)).prop_map(|(idle_timeout, max_duration, max_requests)| {
        Limits { idle_timeout, max_duration, max_requests }
    })
}

/// The state of a connection in the model.
struct Known {
    peer: Fake,
    endpoint: usize,
    id: Option<Id>,
    since: Instant,
    last_used: Instant,
    streams: u32,
    requests: u32,
    /// Whether the policy allows further requests on it.
    current: bool,
}

struct World {
    pool: Connections<usize, Fake, ()>,
    limits: Limits,
    capacity: u32,
    now: Instant,
    connections: Vec<Known>,
    attempts: Vec<(usize, Ticket, bool)>,
    /// The connection number of each request.
    requests: Vec<usize>,
}

impl World {
    fn new(limits: Limits, capacity: u32) -> Self {
        let (connections, attempts, requests) = Default::default();
        Self { pool: pool(limits), limits, capacity, now: Instant::now(), connections, attempts, requests }
    }

    fn may_serve(&self, known: &Known) -> bool {
        let Limits { idle_timeout, max_duration, max_requests } = self.limits;
        let over = |since: Instant, most: Option<Duration>| most.is_some_and(|most| self.now >= since + most);
        known.current
            && known.id.is_some()
            && known.peer.is_open()
            && known.streams < known.peer.capacity()
            && !over(known.since, max_duration)
            && !(known.streams == 0 && over(known.last_used, idle_timeout))
            && max_requests.is_none_or(|most| known.requests < most)
    }

    fn request(&mut self, endpoint: usize) {
        let expected =
            self.connections.iter().any(|known| known.endpoint == endpoint && self.may_serve(known));
        match self.pool.check_out(endpoint, self.now) {
            Some((id, Fake(peer))) => {
                let known = &self.connections[peer.number];
                assert_eq!((known.endpoint, known.id), (endpoint, Some(id)));
                assert!(self.may_serve(known));
                let known = &mut self.connections[peer.number];
                known.streams += 1;
                known.requests += 1;
                self.requests.push(peer.number);
            }
            None => {
                assert!(!expected, "a connection could have served");
                let ticket = match self.capacity {
                    1 => self.pool.begin(),
                    _ => self.pool.begin_shared(endpoint, ()),
                };
                self.attempts.push((endpoint, ticket, true));
            }
        }
    }

    fn connected(&mut self, attempt: usize, endpoint: usize) {
        let (picked, ticket, current) = self.attempts.swap_remove(attempt);
        let peer = connection(self.connections.len(), self.capacity);
        let id = self.pool.add(ticket, endpoint, &peer, self.now);
        self.pool.end(picked, ticket);
        assert_eq!(id.is_some(), current && self.limits.max_requests != Some(1));
        self.requests.push(peer.0.number);
        let (since, last_used) = (self.now, self.now);
        self.connections.push(Known {
            peer,
            endpoint,
            id,
            since,
            last_used,
            streams: 1,
            requests: 1,
            current,
        });
    }

    fn ended(&mut self, request: usize, complete: bool) {
        let number = self.requests.swap_remove(request);
        let known = &mut self.connections[number];
        known.streams -= 1;
        known.last_used = self.now;
        known.current &= complete || self.capacity > 1;
        if let Some(id) = known.id {
            let sender = complete.then(|| known.peer.clone());
            self.pool.check_in((known.endpoint, id), sender, self.now, usize::MAX);
        }
    }

    fn check(&mut self, number: usize) {
        let known = &self.connections[number];
        let Some(id) = known.id else { return };
        if let Some(next) = self.pool.expire(known.endpoint, id, self.now) {
            assert!(next > self.now, "a check must not repeat immediately");
        }
    }

    fn policy_changes(&mut self, keep: impl Fn(usize) -> bool) {
        for known in &mut self.connections {
            known.current &= keep(known.endpoint);
        }
    }

    fn step(&mut self, step: Step) {
        let pick = |index: usize, of: usize| (of > 0).then(|| index % of);
        match step {
            Step::Request(endpoint) => self.request(endpoint),
            Step::Connected(attempt, endpoint) => {
                if let Some(attempt) = pick(attempt, self.attempts.len()) {
                    self.connected(attempt, endpoint);
                }
            }
            Step::AttemptFailed(attempt) => {
                if let Some(attempt) = pick(attempt, self.attempts.len()) {
                    let (picked, ticket, _) = self.attempts.swap_remove(attempt);
                    self.pool.end(picked, ticket);
                }
            }
            Step::Answered(request) | Step::BrokenOff(request) => {
                if let Some(request) = pick(request, self.requests.len()) {
                    self.ended(request, matches!(step, Step::Answered(_)));
                }
            }
            Step::Time(milliseconds) => self.now += u32::from(milliseconds) * MILLISECOND,
            Step::PeerCloses(number) => {
                if let Some(number) = pick(number, self.connections.len()) {
                    self.connections[number].peer.0.open.set(false);
                }
            }
            Step::Limit(number, limit) => {
                if let Some(number) = pick(number, self.connections.len()).filter(|_| self.capacity > 1) {
                    self.connections[number].peer.0.capacity.set(limit);
                }
            }
            Step::Check(number) => {
                if let Some(number) = pick(number, self.connections.len()) {
                    self.check(number);
                }
            }
            Step::Retain(kept) => {
                let keep = |endpoint: usize| kept & (1 << endpoint) != 0;
                self.policy_changes(keep);
                self.pool.retain(keep);
            }
            Step::Drain => {
                self.policy_changes(|_| false);
                for (_, _, current) in &mut self.attempts {
                    *current = false;
                }
                self.pool.drain();
            }
        }
    }

    /// Ends everything and checks that nothing is leaked.
    fn end(mut self) {
        while !self.attempts.is_empty() {
            self.step(Step::AttemptFailed(0));
        }
        while !self.requests.is_empty() {
            self.step(Step::Answered(0));
        }
        for known in &self.connections {
            if let Some(id) = known.id {
                self.pool.remove(known.endpoint, id);
            }
        }
        assert!(self.pool.endpoints.is_empty(), "{:?}", self.pool);
        for known in self.connections {
            assert_eq!(Rc::strong_count(&known.peer.0), 1, "the pool holds a sender");
        }
    }
}

proptest! {
    /// A request receives a connection if and only if the model allows one.
    #[test]
    fn connections_serve_within_their_policy_and_limits(
        limits in limits(),
        capacity in 1..4_u32,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new(limits, capacity);
        for step in steps {
            world.step(step);
        }
        world.end();
    }
}
