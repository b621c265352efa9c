//! How current the table is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nds_client::{Health, SyncState, Watched};

/// The health of a client, of which one part is in each answer: nearly always that the table is [`SyncState::Synced`].
/// That is remembered by the version of the health that said so, and costs a look at two numbers then.
pub(crate) struct Currency {
    health: Watched<Health>,
    synced: AtomicU64,
}

/// No version.
const NONE: u64 = u64::MAX;

impl Currency {
    pub(crate) fn new(health: Watched<Health>) -> Self {
        Self { health, synced: AtomicU64::new(NONE) }
    }

    pub(crate) fn health(&self) -> &Watched<Health> {
        &self.health
    }

    #[inline]
    pub(crate) fn state(&self) -> SyncState {
        // Before the health is looked at, so that a later one is never taken for this.
        let version = self.health.version();
        if self.synced.load(Relaxed) == version { SyncState::Synced } else { self.state_anew(version) }
    }

    #[inline(never)]
    fn state_anew(&self, version: u64) -> SyncState {
        let state = self.health.load().sync.clone();
        if state == SyncState::Synced {
            self.synced.store(version, Relaxed);
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use nds_client::Publisher;

    use super::*;

    #[test]
    fn each_state_is_the_one_that_was_published_last() {
        let publisher = Publisher::new(Health::default());
        let currency = Currency::new(publisher.watched());
        assert_eq!(currency.state(), SyncState::Connecting);
        let stale = SyncState::Stale { since: SystemTime::UNIX_EPOCH };
        let from_disk = SyncState::FromDisk { age: Duration::from_secs(1) };
        for state in
            [from_disk, SyncState::Synced, SyncState::Synced, stale.clone(), SyncState::Synced, stale]
        {
            let mut health = Health::default();
            health.sync = state.clone();
            publisher.publish(health.into());
            assert_eq!([currency.state(), currency.state()], [state.clone(), state]);
        }
    }
}
