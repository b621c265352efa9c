//! The connections of a pool, as a value: time is passed in, and nothing waits.

use std::{collections::HashMap, fmt, hash::Hash};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::limits::{Limits, Usage};

/// Requests that wait for one connection to be made: a peer's limit of concurrent streams is unknown until then, and
/// this is hyper's assumption, too (RFC 9113 §6.5.2 recommends no less).
pub(super) const ASSUMED_STREAMS: u32 = 100;

/// What requests are sent with over one connection.
pub(super) trait Sender: Sized {
    /// Another sender for the same connection; `None` where only one request at a time is on it.
    fn share(&self) -> Option<Self>;

    /// Whether the peer takes further requests, as far as it has said.
    fn is_open(&self) -> bool;

    /// How many requests the connection serves at the same time.
    fn capacity(&self) -> u32;
}

/// The connections of one cluster for one version of HTTP. A request may use those of its key `K`: its endpoint, and what
/// protects a connection to it. `F` is what a request waits for that joins an attempt to make a connection.
pub(super) struct Connections<K, S, F> {
    limits: Limits,
    endpoints: HashMap<K, Endpoint<S, F>, RandomState>,
    /// How often the pool was drained.
    drained: u64,
    next_id: u64,
}

struct Endpoint<S, F> {
    /// With room for a request; the one used last at the end.
    ready: Vec<Slot<S>>,
    full: Vec<Slot<S>>,
    attempts: Vec<Attempt<F>>,
}

struct Slot<S> {
    id: Id,
    usage: Usage,
    /// `None` while the only request that it serves at a time is on it.
    sender: Option<S>,
}

struct Attempt<F> {
    id: Id,
    requests: u32,
    outcome: F,
}

/// One connection, or one attempt to make one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Id(u64);

/// An attempt to make a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    attempt: Id,
    drained: u64,
}

impl<K: Copy + Eq + Hash, S: Sender, F: Clone> Connections<K, S, F> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, endpoints: HashMap::default(), drained: 0, next_id: 0 }
    }

    /// Takes a connection for one request: the one used last, so that others become idle.
    pub(super) fn check_out(&mut self, key: K, now: Instant) -> Option<(Id, S)> {
        let limits = self.limits;
        let endpoint = self.endpoints.get_mut(&key)?;
        while let Some(slot) = endpoint.ready.pop().or_else(|| endpoint.with_room_again()) {
            if !slot.is_usable(&limits, now) {
                continue;
            }
            // The peer may have lowered its limit.
            if !slot.has_room() {
                endpoint.full.push(slot);
            } else if let Some(begun) = endpoint.begin(slot, &limits) {
                return Some(begun);
            }
        }
        self.forget_unused(key);
        None
    }

    /// Joins an attempt, if there is one with room.
    pub(super) fn join(&mut self, key: K) -> Option<F> {
        let attempts = &mut self.endpoints.get_mut(&key)?.attempts;
        let attempt = attempts.iter_mut().find(|attempt| attempt.requests < ASSUMED_STREAMS)?;
        attempt.requests += 1;
        Some(attempt.outcome.clone())
    }

    /// Begins an attempt that no request joins.
    pub(super) fn begin(&mut self) -> Ticket {
        Ticket { attempt: self.id(), drained: self.drained }
    }

    /// Begins an attempt that other requests may join.
    pub(super) fn begin_shared(&mut self, key: K, outcome: F) -> Ticket {
        let ticket = self.begin();
        let attempt = Attempt { id: ticket.attempt, requests: 1, outcome };
        self.endpoint(key).attempts.push(attempt);
        ticket
    }

    /// The attempt is over, however it ended.
    pub(super) fn end(&mut self, key: K, ticket: Ticket) {
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.attempts.retain(|attempt| attempt.id != ticket.attempt);
            self.forget_unused(key);
        }
    }

    /// Takes in the connection of an attempt, with its first request on it. A connection whose attempt began before the
    /// pool was drained is not taken in (`None`): it serves this request alone.
    pub(super) fn add(&mut self, ticket: Ticket, key: K, sender: &S, now: Instant) -> Option<Id> {
        let limits = self.limits;
        if ticket.drained != self.drained {
            return None;
        }
        let mut slot = Slot { id: ticket.attempt, usage: Usage::new(now), sender: sender.share() };
        slot.usage.begin();
        if slot.usage.has_served_all(&limits) {
            return None;
        }
        self.endpoint(key).put(slot);
        Some(ticket.attempt)
    }

    /// A request has ended. Its sender comes back, unless it was broken off. At most `max_idle` connections of the pool
    /// are without a request afterwards.
    pub(super) fn give_back(&mut self, (key, id): (K, Id), sender: Option<S>, now: Instant, max_idle: usize) {
        let limits = self.limits;
        let is_surplus = max_idle != usize::MAX && max_idle <= self.idle();
        let Some(endpoint) = self.endpoints.get_mut(&key) else {
            return;
        };
        let Some(mut slot) = endpoint.take(id) else {
            return;
        };
        slot.usage.end(now);
        slot.sender = sender.or(slot.sender);
        if slot.is_usable(&limits, now) && !(is_surplus && slot.usage.streams() == 0) {
            endpoint.put(slot);
        } else if endpoint.is_unused() {
            self.endpoints.remove(&key);
        }
    }

    /// Forgets a connection: it has ended.
    pub(super) fn remove(&mut self, key: K, id: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.take(id);
            self.forget_unused(key);
        }
    }

    /// Forgets a connection if its time is over; else the time to look again. `None`: there is nothing more to look for.
    pub(super) fn expire(&mut self, key: K, id: Id, now: Instant) -> Option<Instant> {
        let limits = self.limits;
        let endpoint = self.endpoints.get_mut(&key)?;
        let slot = endpoint.full.iter().chain(&endpoint.ready).find(|slot| slot.id == id)?;
        match slot.usage.is_over(&limits, now) {
            true => {
                self.remove(key, id);
                None
            }
            false => slot.usage.look_again(&limits, now),
        }
    }

    /// Forgets the connections of all other keys. Those with requests on them end with their requests.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(K) -> bool) {
        self.endpoints.retain(|key, _| keep(*key));
    }

    /// Forgets all connections. Those with requests on them end with their requests.
    pub(super) fn drain(&mut self) {
        self.drained += 1;
        self.endpoints.clear();
    }

    /// Connections without a request.
    fn idle(&self) -> usize {
        let ready = self.endpoints.values().flat_map(|endpoint| &endpoint.ready);
        ready.filter(|slot| slot.usage.streams() == 0).count()
    }

    fn id(&mut self) -> Id {
        self.next_id += 1;
        Id(self.next_id)
    }

    fn endpoint(&mut self, key: K) -> &mut Endpoint<S, F> {
        self.endpoints.entry(key).or_insert_with(|| Endpoint {
            ready: Vec::new(),
            full: Vec::new(),
            attempts: Vec::new(),
        })
    }

    fn forget_unused(&mut self, key: K) {
        if self.endpoints.get(&key).is_some_and(Endpoint::is_unused) {
            self.endpoints.remove(&key);
        }
    }
}

impl<S: Sender, F> Endpoint<S, F> {
    /// Begins a request. A connection that may serve no other is forgotten.
    fn begin(&mut self, mut slot: Slot<S>, limits: &Limits) -> Option<(Id, S)> {
        let sender = slot.sender.take()?;
        slot.sender = sender.share();
        slot.usage.begin();
        let id = slot.id;
        if !slot.usage.has_served_all(limits) {
            self.put(slot);
        }
        Some((id, sender))
    }

    fn put(&mut self, slot: Slot<S>) {
        match slot.has_room() {
            true => self.ready.push(slot),
            false => self.full.push(slot),
        }
    }

    /// Takes a connection whose peer has raised its limit.
    fn with_room_again(&mut self) -> Option<Slot<S>> {
        self.full.iter().position(Slot::has_room).map(|at| self.full.swap_remove(at))
    }

    fn take(&mut self, id: Id) -> Option<Slot<S>> {
        let at = |slots: &[Slot<S>]| slots.iter().rposition(|slot| slot.id == id);
        match at(&self.full) {
            Some(full) => Some(self.full.swap_remove(full)),
            None => at(&self.ready).map(|ready| self.ready.remove(ready)),
        }
    }
}

impl<S, F> Endpoint<S, F> {
    fn is_unused(&self) -> bool {
        self.ready.is_empty() && self.full.is_empty() && self.attempts.is_empty()
    }
}

impl<S: Sender> Slot<S> {
    fn has_room(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| self.usage.streams() < sender.capacity())
    }

    fn is_usable(&self, limits: &Limits, now: Instant) -> bool {
        self.sender.as_ref().is_some_and(S::is_open) && !self.usage.is_over(limits, now)
    }
}

impl<K: fmt::Debug, S, F> fmt::Debug for Connections<K, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts =
            self.endpoints.iter().map(|(at, endpoint)| (at, endpoint.ready.len() + endpoint.full.len()));
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests;
