//! Changes and publishes the health. Only this module changes it.

use std::time::{Duration, SystemTime};

use super::{Component, Health, StateDirPart, SyncState};
use crate::{
    clock::Clock,
    error::Error,
    metrics,
    watched::{Watch, WatchSender},
};

/// Records events of the components and publishes the health if it changes.
#[derive(Debug)]
pub(crate) struct HealthReporter {
    health: WatchSender<Health>,
    clock: Clock,
}

impl HealthReporter {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { health: WatchSender::with_first(Health::default()), clock }
    }

    pub(crate) fn subscribe(&self) -> Watch<Health> {
        self.health.subscribe()
    }

    /// Returns whether the current name table was received on the current stream.
    pub(crate) fn is_synced(&self) -> bool {
        self.health.load().sync == SyncState::Synced
    }

    /// Records a valid name table on the current stream.
    pub(crate) fn synced(&self) {
        self.update(|health| {
            health.sync = SyncState::Synced;
            health.stream = None;
        });
    }

    /// Records that a snapshot of this age was read from the state directory.
    pub(crate) fn restored(&self, age: Duration) {
        self.update(|health| health.sync = SyncState::FromDisk { age });
    }

    /// Records that the last stream ended at `since`, or that a stream could not be opened now if `since` is `None`. If
    /// `error` is `None`, the recorded error stays.
    pub(crate) fn stream_failed(&self, since: Option<SystemTime>, error: Option<Error>) {
        let since = since.unwrap_or_else(|| self.clock.now());
        self.update(|health| {
            if health.sync == SyncState::Synced {
                health.sync = SyncState::Stale { since };
            }
            health.stream = error.or(health.stream.take());
        });
    }

    /// Records a rejected push. `type_url` is `None` if this client does not subscribe to its type.
    pub(crate) fn push_rejected(&self, type_url: Option<&'static str>, error: Error) {
        self.update(|health| {
            health.rejected = Some(error);
            health.rejected_type = type_url;
        });
    }

    /// Records a valid push. Clears the error of a rejected push of the same type.
    pub(crate) fn push_accepted(&self, type_url: &'static str) {
        self.update(|health| {
            if health.rejected_type == Some(type_url) {
                health.rejected = None;
                health.rejected_type = None;
            }
        });
    }

    /// Records a new certificate from istiod's CA, and the clock error that its dates prove, if any.
    pub(crate) fn certificate_issued(&self, ends: SystemTime, clock: Option<Error>) {
        self.update(|health| {
            health.identity = None;
            health.clock = clock;
            health.certificate_ends = Some(ends);
        });
    }

    /// Records a certificate that was read from a file.
    pub(crate) fn certificate_read(&self, ends: SystemTime) {
        self.update(|health| health.certificate_ends = Some(ends));
    }

    /// Records the outcome of a certificate request or of reading the certificate files; `None` is a success.
    pub(crate) fn identity(&self, error: Option<Error>) {
        self.update(|health| health.identity = error);
    }

    /// Records the outcome of an access to a part of the state directory; `None` is a success.
    pub(crate) fn state_dir(&self, part: StateDirPart, error: Option<Error>) {
        self.update(|health| {
            health.state_dir[part as usize] = error;
            health.storage = health.state_dir.iter().flatten().next().cloned();
        });
    }

    /// Records that the tasks of the client have ended. From then on, nothing updates the values and nothing renews the
    /// certificate.
    pub(crate) fn ended(&self) {
        let since = self.clock.now();
        self.update(|health| {
            if health.sync == SyncState::Synced {
                health.sync = SyncState::Stale { since };
            }
            health.stream = Some(Error::ended());
            health.identity = Some(Error::ended());
        });
    }

    fn update(&self, change: impl FnOnce(&mut Health)) {
        self.health.modify(|health| {
            let before = health.clone();
            change(health);
            let changed = !health.is_same(&before);
            if changed {
                health.record_begin(self.clock.now());
                metrics::sync_state(health.sync.as_label());
                for component in Component::ALL {
                    metrics::failing(component.as_label(), health.error(component).is_some());
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
    fn the_health_is_published_only_if_it_changes() {
        let board = HealthReporter::new(Clock::system());
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
    fn only_a_valid_push_of_the_same_type_clears_a_rejected_one() {
        let board = HealthReporter::new(Clock::system());
        board.push_rejected(Some("names"), error("broken"));
        board.push_accepted("clusters");
        assert!(board.subscribe().load().rejected.is_some());
        board.push_accepted("names");
        assert!(board.subscribe().load().rejected.is_none());
    }

    #[test]
    fn the_storage_error_is_that_of_the_first_failing_part() {
        let board = HealthReporter::new(Clock::system());
        let storage = || board.subscribe().load().storage.as_ref().map(ToString::to_string);
        board.state_dir(StateDirPart::Snapshot, Some(error("snapshot")));
        board.state_dir(StateDirPart::Directory, Some(error("directory")));
        assert_eq!(storage().as_deref(), Some("directory"));
        board.state_dir(StateDirPart::Directory, None);
        assert_eq!(storage().as_deref(), Some("snapshot"));
        board.state_dir(StateDirPart::Snapshot, None);
        assert_eq!(storage(), None);
    }
}
