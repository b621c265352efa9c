//! The open TCP connections of a listener, and their limit.
//!
//! At the limit, a new connection replaces another one: the connection that has been idle longest (RFC 7766 §6.2.3)
//! among those of the client address with the most connections. A client that opens many connections and sends nothing
//! can therefore not exclude others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use sidestep_util::descriptors::{Budget, Permit};
use tokio::sync::Notify;

/// The divisor of the number of free file descriptors: the connections of a listener may have one eighth of them.
const DIVISOR: usize = 8;

/// The open connections of all TCP sockets of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    budget: Arc<Budget>,
    open: Mutex<HashMap<u64, Open>>,
    /// A logical clock, which orders the uses of connections: it increases with each connection and each query.
    time: AtomicU64,
}

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    activity: Arc<Activity>,
    _permit: Permit,
}

/// The last use of a connection, and the signal to close it.
#[derive(Debug)]
struct Activity {
    last: AtomicU64,
    close: Notify,
}

/// An open connection. Dropping the value removes it from the open connections.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    activity: Arc<Activity>,
    connections: Arc<Connections>,
}

impl Connections {
    pub(super) fn new(maximum: usize) -> Self {
        Self::with_budget(Budget::new(DIVISOR, maximum))
    }

    fn with_budget(budget: Budget) -> Self {
        Self { budget: Arc::new(budget), open: Mutex::default(), time: AtomicU64::new(0) }
    }

    /// Admits a connection. At the limit, closes another connection first. Returns `None` if the limit is still reached
    /// after that.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock();
        let permit = match self.budget.acquire(1) {
            Some(permit) => permit,
            None => {
                close_one(&mut open);
                self.budget.acquire(1)?
            }
        };
        let id = self.now();
        let activity = Arc::new(Activity { last: AtomicU64::new(id), close: Notify::new() });
        open.insert(id, Open { peer: peer.to_canonical(), activity: activity.clone(), _permit: permit });
        Some(Slot { id, activity, connections: self.clone() })
    }

    /// Closes the connection that [`admit`](Self::admit) would close at the limit. Called if the process has no file
    /// descriptors left.
    pub(super) fn close_one(&self) {
        close_one(&mut self.open.lock());
    }

    fn now(&self) -> u64 {
        self.time.fetch_add(1, Relaxed)
    }
}

/// Closes one connection of the client with the most connections: the one that has been idle longest.
fn close_one(open: &mut HashMap<u64, Open>) {
    let mut counts = HashMap::<IpAddr, usize>::new();
    for connection in open.values() {
        *counts.entry(connection.peer).or_default() += 1;
    }
    let rank = |connection: &Open| {
        let count = counts.get(&connection.peer).copied().unwrap_or(0);
        (std::cmp::Reverse(count), connection.activity.last.load(Relaxed))
    };
    let longest = open.iter().min_by_key(|(_, connection)| rank(connection)).map(|(id, _)| *id);
    if let Some(closed) = longest.and_then(|id| open.remove(&id)) {
        closed.activity.close.notify_one();
    }
}

impl Slot {
    /// Records that the client has sent a query on this connection.
    pub(super) fn set_active(&self) {
        self.activity.last.store(self.connections.now(), Relaxed);
    }

    /// Waits until the connection must be closed in favour of another one.
    pub(super) async fn closed(&self) {
        self.activity.close.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::pin;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn connections(maximum: usize) -> Arc<Connections> {
        Arc::new(Connections::with_budget(Budget::new(1, maximum)))
    }

    async fn is_closed(slot: &Slot) -> bool {
        let closed = slot.closed();
        pin!(closed);
        poll!(closed).is_ready()
    }

    /// Returns the numbers of the closed connections.
    async fn closed(slots: &[Slot]) -> Vec<usize> {
        let mut closed = Vec::new();
        for (number, slot) in slots.iter().enumerate() {
            if is_closed(slot).await {
                closed.push(number);
            }
        }
        closed
    }

    #[tokio::test]
    async fn at_the_limit_the_connection_that_was_idle_longest_is_closed() {
        let all = connections(3);
        let slots = [(); 3].map(|()| all.admit(LOCAL).unwrap());
        slots[0].set_active();
        let next = all.admit(LOCAL).unwrap();
        assert_eq!(closed(&slots).await, [1]);
        let _last = all.admit(LOCAL).unwrap();
        assert_eq!(closed(&slots).await, [2]);
        assert!(!is_closed(&next).await);
        assert_eq!(all.open.lock().len(), 3);
    }

    #[tokio::test]
    async fn a_client_with_many_connections_replaces_its_own() {
        let all = connections(3);
        let other = all.admit("192.0.2.1".parse().unwrap()).unwrap();
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(all.admit(LOCAL).unwrap());
        }
        assert!(!is_closed(&other).await);
        assert_eq!(closed(&held).await, (0..8).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_connection_that_ended_makes_room_for_another_one() {
        let all = connections(1);
        drop(all.admit(LOCAL).unwrap());
        let next = all.admit(LOCAL).unwrap();
        assert!(!is_closed(&next).await);
        assert_eq!(all.budget.in_use(), 1);
    }

    #[test]
    fn without_a_budget_no_connection_is_admitted() {
        assert!(connections(0).admit(LOCAL).is_none());
    }
}
