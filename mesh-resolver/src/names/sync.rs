//! The synchronisation state of the name table, cached until the client's health changes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nds_client::{
    health::{Health, SyncState},
    watch::Watch,
};

/// Reads the [`SyncState`] of a client for each answer. Because the state is nearly always [`SyncState::Synced`], this
/// type stores the last version of the client's [`Health`] that was `Synced`. While the version is unchanged, a read
/// only compares two numbers.
pub(crate) struct SyncWatch {
    health: Watch<Health>,
    synced: AtomicU64,
}

/// A placeholder: no version is stored.
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
        // The version is read before the health, so that a later state is not stored for this version.
        let version = self.health.version();
        if self.synced.load(Relaxed) == version { SyncState::Synced } else { self.load_state(version) }
    }

    #[inline(never)]
    fn load_state(&self, version: u64) -> SyncState {
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
    fn the_state_is_always_the_last_one_that_was_sent() {
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
