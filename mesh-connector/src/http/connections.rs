//! The connections of a pool. The type does no IO and never waits; it receives the time as an argument.

use std::{collections::HashMap, fmt, hash::Hash};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::limits::{Limits, Usage};

/// The number of requests that may wait for the same connection attempt. The stream limit of the peer is unknown until
/// the connection is established. hyper assumes the same value. RFC 9113 §6.5.2 recommends a limit of at least 100.
pub(super) const ASSUMED_STREAMS: u32 = 100;

/// The sending half of a connection.
pub(super) trait Sender: Sized {
    /// Returns another sender for the same connection. `None` if the connection serves only one request at a time.
    fn share(&self) -> Option<Self>;

    /// Returns `false` once the peer is known to accept no further requests.
    fn is_open(&self) -> bool;

    /// Returns the number of concurrent requests that the connection can serve.
    fn capacity(&self) -> u32;
}

/// The connections of one cluster for one HTTP version. A request uses the connections of its key `K`: its endpoint and
/// the protection of the connection. `F` is the type that a request awaits if it joins a connection attempt.
pub(super) struct Connections<K, S, F> {
    limits: Limits,
    endpoints: HashMap<K, Endpoint<S, F>, RandomState>,
    /// The number of times that the pool was drained.
    drained: u64,
    next_id: u64,
}

struct Endpoint<S, F> {
    /// Connections that can serve a further request. The most recently used one is last.
    ready: Vec<Slot<S>>,
    full: Vec<Slot<S>>,
    attempts: Vec<Attempt<F>>,
}

struct Slot<S> {
    id: Id,
    usage: Usage,
    /// The sender. `None` while the connection serves a request and cannot serve another one at the same time.
    sender: Option<S>,
}

struct Attempt<F> {
    id: Id,
    requests: u32,
    outcome: F,
}

/// The ID of a connection or of a connection attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Id(u64);

/// A connection attempt, with the number of times that the pool had been drained when it started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    attempt: Id,
    drained: u64,
}

impl<K: Copy + Eq + Hash, S: Sender, F: Clone> Connections<K, S, F> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, endpoints: HashMap::default(), drained: 0, next_id: 0 }
    }

    /// Takes the most recently used connection for one request, so that other connections become idle. `None` if no
    /// connection can serve it.
    pub(super) fn check_out(&mut self, key: K, now: Instant) -> Option<(Id, S)> {
        let limits = self.limits;
        let endpoint = self.endpoints.get_mut(&key)?;
        while let Some(slot) = endpoint.ready.pop().or_else(|| endpoint.with_room_again()) {
            if !slot.is_usable(&limits, now) {
                continue;
            }
            // The peer may have lowered its stream limit.
            if !slot.has_room() {
                endpoint.full.push(slot);
            } else if let Some(begun) = endpoint.begin(slot, &limits) {
                return Some(begun);
            }
        }
        self.forget_unused(key);
        None
    }

    /// Joins a connection attempt with room for another request. `None` if there is none.
    pub(super) fn join(&mut self, key: K) -> Option<F> {
        let attempts = &mut self.endpoints.get_mut(&key)?.attempts;
        let attempt = attempts.iter_mut().find(|attempt| attempt.requests < ASSUMED_STREAMS)?;
        attempt.requests += 1;
        Some(attempt.outcome.clone())
    }

    /// Starts a connection attempt that no other request joins.
    pub(super) fn begin(&mut self) -> Ticket {
        Ticket { attempt: self.id(), drained: self.drained }
    }

    /// Starts a connection attempt that other requests may join.
    pub(super) fn begin_shared(&mut self, key: K, outcome: F) -> Ticket {
        let ticket = self.begin();
        let attempt = Attempt { id: ticket.attempt, requests: 1, outcome };
        self.endpoint(key).attempts.push(attempt);
        ticket
    }

    /// Ends a connection attempt, with any result.
    pub(super) fn end(&mut self, key: K, ticket: Ticket) {
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.attempts.retain(|attempt| attempt.id != ticket.attempt);
            self.forget_unused(key);
        }
    }

    /// Adds the connection of an attempt, with its first request. `None` if the connection serves only this request:
    /// the pool was drained after the attempt started, or the limit of requests is 1.
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

    /// Ends a request, and puts its sender back into the pool. `sender` is `None` if the request was aborted. At most
    /// `max_idle` connections of the pool are idle afterwards.
    pub(super) fn check_in(&mut self, (key, id): (K, Id), sender: Option<S>, now: Instant, max_idle: usize) {
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

    /// Removes a connection that has ended.
    pub(super) fn remove(&mut self, key: K, id: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.take(id);
            self.forget_unused(key);
        }
    }

    /// Removes a connection if its lifetime is over. Returns the time at which to check again, or `None` if no further
    /// check is needed.
    pub(super) fn expire(&mut self, key: K, id: Id, now: Instant) -> Option<Instant> {
        let limits = self.limits;
        let endpoint = self.endpoints.get_mut(&key)?;
        let slot = endpoint.full.iter().chain(&endpoint.ready).find(|slot| slot.id == id)?;
        match slot.usage.is_over(&limits, now) {
            true => {
                self.remove(key, id);
                None
            }
            false => slot.usage.next_check(&limits, now),
        }
    }

    /// Removes the connections whose keys `keep` rejects. Those that serve requests end after these requests.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(K) -> bool) {
        self.endpoints.retain(|key, _| keep(*key));
    }

    /// Removes all connections. Those that serve requests end after these requests.
    pub(super) fn drain(&mut self) {
        self.drained += 1;
        self.endpoints.clear();
    }

    /// Returns the number of idle connections.
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
    /// Starts a request on the connection of `slot`. Removes the connection from the pool if it can serve no further
    /// request. Returns `None` if the slot has no sender.
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

    /// Takes a connection that was full and can serve a request again, because its peer has raised the stream limit.
    /// `None` if there is none.
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
