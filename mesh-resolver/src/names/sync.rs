//! How current the table is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nds_client::{
    health::{Health, SyncState},
    watch::Watch,
};

/// The health of a client, of which one part is in each answer: nearly always that the table is [`SyncState::Synced`].
/// That is remembered by the version of the health that said so, and costs a look at two numbers then.
pub(crate) struct SyncWatch {
    health: Watch<Health>,
    synced: AtomicU64,
}

/// No version.
const NONE: u64 = u64::MAX;

impl SyncWatch {
    pub(crate) fn new(health: Watch<Health>) -> Self {
        Self { health, synced: AtomicU64::new(NONE) }
    }

    pub(super) fn health(&self) -> &Watch<Health> {
        &self.health
    }

    #[inline]
    pub(super) fn state(&self) -> SyncState {
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

    use nds_client::watch::WatchSender;

    use super::*;

    #[test]
    fn each_state_is_the_one_that_was_published_last() {
        let sender = WatchSender::new(Health::default());
        let sync = SyncWatch::new(sender.subscribe());
        assert_eq!(sync.state(), SyncState::Connecting);
        let stale = SyncState::Stale { since: SystemTime::UNIX_EPOCH };
        let from_disk = SyncState::FromDisk { age: Duration::from_secs(1) };
        for state in
            [from_disk, SyncState::Synced, SyncState::Synced, stale.clone(), SyncState::Synced, stale]
        {
            let mut health = Health::default();
            health.sync = state.clone();
            sender.send(health);
            assert_eq!([sync.state(), sync.state()], [state.clone(), state]);
        }
    }
}
