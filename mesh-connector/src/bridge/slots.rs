//! The limits of simultaneous connections.
//!
//! A connection of a client that access control accepts, or of another process of the same user, has a slot. A client
//! of another user that must authenticate first has one of the few places for guests, and receives a slot after it has
//! authenticated. Other users can therefore not use up the slots. Slots and places are also limited by the number of
//! descriptors that this process can still open.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use sidestep_util::descriptors::{Budget, Permit};
use tokio::{sync::Notify, time::timeout};

/// The number of file descriptors that one connection uses: the sockets to the client and to the service.
const PER_CONNECTION: usize = 2;

/// All connections together use at most one half of the descriptors that this process does not use otherwise.
const SLOTS_DIVISOR: usize = 2;

/// The time after which a connection that waits for a slot checks again whether descriptors are free.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// All guests (clients that have not authenticated yet) use at most one sixteenth of the descriptors that this process
/// does not use otherwise.
const GUESTS_DIVISOR: usize = 16;

/// The maximum number of guests of one user, so that one user cannot take the places of another.
const GUESTS_PER_USER: usize = 16;

/// The slots of a bridge.
#[derive(Debug)]
pub(crate) struct Slots {
    budget: Arc<Budget>,
    freed: Notify,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    permit: Option<Permit>,
    slots: Arc<Slots>,
}

impl Slots {
    pub(super) fn new(max_connections: usize) -> Self {
        let budget = Budget::new(SLOTS_DIVISOR, max_connections.saturating_mul(PER_CONNECTION));
        Self { budget: Arc::new(budget), freed: Notify::new() }
    }

    /// Waits for a free slot.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no slot.
    pub(super) async fn acquire(self: &Arc<Self>) -> Slot {
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.budget.acquire(PER_CONNECTION) {
                return Slot { permit: Some(permit), slots: self.clone() };
            }
            // polling: there is no event when other parts of this process close descriptors.
            let _ = timeout(RETRY_DELAY, freed).await;
        }
    }

    /// Returns the number of slots in use.
    pub(super) fn in_use(&self) -> usize {
        self.budget.in_use() / PER_CONNECTION
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Return the descriptors before the next waiting connection checks whether descriptors are free.
        drop(self.permit.take());
        self.slots.freed.notify_one();
    }
}

/// The connections of clients of other users that have not authenticated yet.
#[derive(Debug)]
pub(crate) struct Guests {
    budget: Arc<Budget>,
    per_user: Mutex<HashMap<u32, usize>>,
}

/// The place of one guest. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Guest {
    _permit: Permit,
    user: Option<u32>,
    guests: Arc<Guests>,
}

impl Guests {
    pub(super) fn new(max: usize) -> Self {
        Self { budget: Arc::new(Budget::new(GUESTS_DIVISOR, max)), per_user: Mutex::default() }
    }

    /// Returns a place for a client of this user. Returns `None` if no place is free. `user` is `None` if the user is
    /// unknown.
    pub(super) fn admit(self: &Arc<Self>, user: Option<u32>) -> Option<Guest> {
        let mut per_user = self.per_user.lock();
        if user.is_some_and(|user| per_user.get(&user).is_some_and(|count| *count >= GUESTS_PER_USER)) {
            return None;
        }
        let permit = self.budget.acquire(1)?;
        if let Some(user) = user {
            *per_user.entry(user).or_default() += 1;
        }
        Some(Guest { _permit: permit, user, guests: self.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(user) = self.user else { return };
        if let Entry::Occupied(mut count) = self.guests.per_user.lock().entry(user) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_waits_for_a_slot_until_one_is_free() {
        let slots = Arc::new(Slots::new(1));
        let first = slots.acquire().await;
        assert_eq!(slots.in_use(), 1);
        let mut second = waiting_for(slots.clone()).await;
        drop(first);
        let _second = (&mut second).await.unwrap();
        assert_eq!(slots.in_use(), 1);
    }

    /// Returns a task that waits for a slot.
    async fn waiting_for(slots: Arc<Slots>) -> tokio::task::JoinHandle<Slot> {
        let waiting = tokio::spawn(async move { slots.acquire().await });
        // polling: the task gets a turn; the test does not depend on the result.
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        waiting
    }

    #[test]
    fn one_user_cannot_take_the_places_of_another() {
        let guests = Arc::new(Guests::new(GUESTS_PER_USER + 1));
        let first: Vec<_> = (0..GUESTS_PER_USER).map(|_| guests.admit(Some(65534)).unwrap()).collect();
        assert!(guests.admit(Some(65534)).is_none());
        let _other = guests.admit(Some(1000)).unwrap();
        assert!(guests.admit(Some(1001)).is_none(), "the places of all users together are limited");
        assert!(guests.admit(None).is_none());
        drop(first);
        assert!(guests.admit(Some(65534)).is_some());
        assert_eq!(guests.per_user.lock().len(), 1);
    }
}
