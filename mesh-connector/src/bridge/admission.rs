//! The right of one connection to use the bridge.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    access::Verdict,
    slots::{Guest, Slot, Slots},
};

/// The time in which a client of another user must authenticate. After this time, the bridge closes the connection.
const GUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The right of one connection to use the bridge, and its share of the connection limits. Dropping this value returns
/// the share.
#[derive(Debug)]
pub(super) struct Admission {
    client: Verdict,
    share: Share,
}

#[derive(Debug)]
enum Share {
    Slot { _slot: Slot },
    Guest { _guest: Guest, until: Instant },
}

impl Admission {
    pub(super) fn with_slot(client: Verdict, slot: Slot) -> Self {
        Self { client, share: Share::Slot { _slot: slot } }
    }

    pub(super) fn as_guest(client: Verdict, guest: Guest, accepted_at: Instant) -> Self {
        Self { client, share: Share::Guest { _guest: guest, until: accepted_at + GUEST_TIMEOUT } }
    }

    /// Returns the result of access control for the client.
    pub(super) fn client(&self) -> Verdict {
        self.client
    }

    /// Returns whether the client needs the secret of the bridge.
    pub(super) fn needs_secret(&self) -> bool {
        self.client != Verdict::Accepted
    }

    /// Returns the time at which the connection is closed if the client has not authenticated. `None` if the client
    /// does not have to authenticate.
    pub(super) fn guest_until(&self) -> Option<Instant> {
        match &self.share {
            Share::Slot { .. } => None,
            Share::Guest { until, .. } => Some(*until),
        }
    }

    /// Returns the remaining time for the handshake, which may take at most `timeout` in total.
    pub(super) fn time_left(&self, timeout: Duration) -> Duration {
        let guest = self.guest_until().map(|until| until.saturating_duration_since(Instant::now()));
        guest.map_or(timeout, |guest| guest.min(timeout))
    }

    /// Records that the client has authenticated. Waits for a connection slot if the client has none yet.
    pub(super) async fn authenticated(&mut self, slots: &Arc<Slots>) {
        if let Share::Guest { .. } = self.share {
            self.share = Share::Slot { _slot: slots.acquire().await };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::slots::Guests;

    #[tokio::test(start_paused = true)]
    async fn a_guest_has_two_seconds_and_a_slot_after_it_has_authenticated() {
        let (slots, guests) = (Arc::new(Slots::new(8)), Arc::new(Guests::new(8)));
        let client = Verdict::OtherUser(Some(65534));
        let guest = guests.admit(Some(65534)).unwrap();
        let mut admission = Admission::as_guest(client, guest, Instant::now());
        let ten_seconds = Duration::from_secs(10);
        assert_eq!(admission.time_left(ten_seconds), GUEST_TIMEOUT);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(admission.time_left(ten_seconds), Duration::ZERO);
        assert_eq!(slots.in_use(), 0);
        admission.authenticated(&slots).await;
        assert_eq!(slots.in_use(), 1);
        assert_eq!(admission.time_left(ten_seconds), ten_seconds);
        assert!(admission.needs_secret(), "each request must contain the secret");
        drop(admission);
        assert_eq!(slots.in_use(), 0);
    }
}
