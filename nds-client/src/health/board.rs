//! The only place that changes and publishes the health.

use std::time::{Duration, SystemTime};

use super::{Health, Part, StateDirPart, SyncState};
use crate::{
    clock::Clock,
    error::Error,
    metrics,
    watch::{Watch, WatchSender},
};

/// Takes what happens to the parts of a client, and publishes the health where that makes a difference.
#[derive(Debug)]
pub(crate) struct HealthBoard {
    health: WatchSender<Health>,
    clock: Clock,
}

impl HealthBoard {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { health: WatchSender::new(Health::default()), clock }
    }

    pub(crate) fn subscribe(&self) -> Watch<Health> {
        self.health.subscribe()
    }

    /// Whether istiod's last name table came over the stream that is open now.
    pub(crate) fn is_synced(&self) -> bool {
        self.health.load().sync == SyncState::Synced
    }

    /// The open stream has brought a good name table.
    pub(crate) fn synced(&self) {
        self.update(|health| {
            health.sync = SyncState::Synced;
            health.stream = None;
        });
    }

    /// A snapshot of this age was read from the state folder.
    pub(crate) fn restored(&self, age: Duration) {
        self.update(|health| health.sync = SyncState::FromDisk { age });
    }

    /// The stream has ended at `since`, or could not be opened now.
    pub(crate) fn stream_failed(&self, since: Option<SystemTime>, error: Option<Error>) {
        let since = since.unwrap_or_else(|| self.clock.now());
        self.update(|health| {
            if health.sync == SyncState::Synced {
                health.sync = SyncState::Stale { since };
            }
            health.stream = error.or(health.stream.take());
        });
    }

    /// A push of this type was rejected, or of no type that was asked for.
    pub(crate) fn push_rejected(&self, type_url: Option<&'static str>, error: Error) {
        self.update(|health| {
            health.rejected = Some(error);
            health.rejected_type = type_url;
        });
    }

    /// A good push makes up for a rejected one of its type.
    pub(crate) fn push_accepted(&self, type_url: &'static str) {
        self.update(|health| {
            if health.rejected_type == Some(type_url) {
                health.rejected = None;
                health.rejected_type = None;
            }
        });
    }

    /// istiod's CA has issued the certificate in use, which says this about the clock.
    pub(crate) fn certificate_issued(&self, ends: SystemTime, clock: Option<Error>) {
        self.update(|health| {
            health.identity = None;
            health.clock = clock;
            health.certificate_ends = Some(ends);
        });
    }

    /// A certificate from a file is in use.
    pub(crate) fn certificate_read(&self, ends: SystemTime) {
        self.update(|health| health.certificate_ends = Some(ends));
    }

    /// Why there is no new certificate; `None` where there is nothing to complain of.
    pub(crate) fn identity(&self, error: Option<Error>) {
        self.update(|health| health.identity = error);
    }

    /// Why a part of the state folder cannot be used; `None` where it can.
    pub(crate) fn state_dir(&self, part: StateDirPart, error: Option<Error>) {
        self.update(|health| {
            health.state_dir[part as usize] = error;
            health.storage = health.state_dir.iter().flatten().next().cloned();
        });
    }

    fn update(&self, change: impl FnOnce(&mut Health)) {
        self.health.modify(|health| {
            let before = health.clone();
            change(health);
            let changed = !health.is_same(&before);
            if changed {
                health.note_times(self.clock.now());
                metrics::sync_state(health.sync.as_label());
                for part in Part::ALL {
                    metrics::failing(part.as_label(), health.part(part).is_some());
                }
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::ErrorKind;

    fn error(message: &str) -> Error {
        Error::new(ErrorKind::Unavailable, message)
    }

    #[test]
    fn the_health_is_published_only_when_something_changed() {
        let board = HealthBoard::new(Clock::system());
        let health = board.subscribe();
        board.synced();
        let synced = health.get();
        board.synced();
        board.push_accepted("names");
        board.identity(None);
        assert!(Arc::ptr_eq(&synced, &health.get()));
        board.stream_failed(None, Some(error("gone")));
        let failed = health.get();
        assert!(!Arc::ptr_eq(&synced, &failed));
        board.stream_failed(None, Some(error("gone")));
        assert!(Arc::ptr_eq(&failed, &health.get()));
        board.stream_failed(None, Some(error("still gone")));
        assert!(!Arc::ptr_eq(&failed, &health.get()));
    }

    #[test]
    fn a_rejected_push_is_forgotten_with_a_good_one_of_its_type_alone() {
        let board = HealthBoard::new(Clock::system());
        board.push_rejected(Some("names"), error("broken"));
        board.push_accepted("clusters");
        assert!(board.subscribe().load().rejected.is_some());
        board.push_accepted("names");
        assert!(board.subscribe().load().rejected.is_none());
    }

    #[test]
    fn the_state_folder_works_when_all_its_parts_do() {
        let board = HealthBoard::new(Clock::system());
        let storage = || board.subscribe().load().storage.as_ref().map(ToString::to_string);
        board.state_dir(StateDirPart::Snapshot, Some(error("snapshot")));
        board.state_dir(StateDirPart::Folder, Some(error("folder")));
        assert_eq!(storage().as_deref(), Some("folder"));
        board.state_dir(StateDirPart::Folder, None);
        assert_eq!(storage().as_deref(), Some("snapshot"));
        board.state_dir(StateDirPart::Snapshot, None);
        assert_eq!(storage(), None);
    }
}
