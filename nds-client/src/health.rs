//! How the client is doing.

mod board;

use std::time::{Duration, SystemTime};

pub(crate) use self::board::HealthBoard;
use crate::error::Error;

/// Where the names, clusters and endpoints at hand come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncState {
    /// No name table yet.
    #[default]
    Connecting,
    /// From the state folder: istiod has not answered since this process started.
    FromDisk {
        /// How old they were when they were read.
        age: Duration,
    },
    /// From the stream that is open now.
    Synced,
    /// From a stream that has ended; what it said still holds.
    Stale {
        /// When the stream ended.
        since: SystemTime,
    },
}

/// How the client is doing, at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// Where the snapshots come from.
    pub sync: SyncState,
    /// Why istiod cannot be reached or refuses us; `None` while the stream is open.
    pub stream: Option<Error>,
    /// Why the certificate could not be issued or renewed; `None` after a success.
    pub identity: Option<Error>,
    /// The last push that was rejected, while what it would have replaced stays in use.
    pub rejected: Option<Error>,
    /// Why the state folder, or something in it, could not be used.
    pub storage: Option<Error>,
    /// Why this host's clock cannot be right. Certificates may be refused that are good, or the reverse.
    pub clock: Option<Error>,
    /// When the certificate in use ends.
    pub certificate_ends: Option<SystemTime>,
    since: [Option<SystemTime>; PARTS],
    /// The type of the rejected push.
    rejected_type: Option<&'static str>,
    /// By [`StateDirPart`].
    state_dir: [Option<Error>; 3],
}

const PARTS: usize = 5;

/// A part of the state folder that can fail while the others work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StateDirPart {
    Folder,
    Identity,
    Snapshot,
}

impl SyncState {
    /// A short name for metric labels.
    fn as_label(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::FromDisk { .. } => "from_disk",
            Self::Synced => "synced",
            Self::Stale { .. } => "stale",
        }
    }
}

/// A part of the client that can fail while the others work.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// [`Health::clock`]
    Clock,
    /// [`Health::identity`]
    Identity,
    /// [`Health::rejected`]
    Push,
    /// [`Health::storage`]
    Storage,
    /// [`Health::stream`]
    Stream,
}

impl Part {
    const ALL: [Self; PARTS] = [Self::Clock, Self::Identity, Self::Push, Self::Storage, Self::Stream];

    /// A short name for logs and metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Identity => "identity",
            Self::Push => "push",
            Self::Storage => "storage",
            Self::Stream => "stream",
        }
    }
}

/// One part of the client that does not work.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// Which.
    pub part: Part,
    /// Why, as last seen.
    pub error: &'a Error,
    /// Since when it has not worked without a success in between.
    pub since: SystemTime,
}

impl Health {
    /// Whether everything works.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.sync == SyncState::Synced && self.failures().next().is_none()
    }

    /// Everything that does not work, each with its reason and since when.
    pub fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        Part::ALL.into_iter().filter_map(|part| {
            let error = self.part(part).as_ref()?;
            let since = self.since[part as usize].unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Failure { part, error, since })
        })
    }

    fn part(&self, part: Part) -> &Option<Error> {
        match part {
            Part::Clock => &self.clock,
            Part::Identity => &self.identity,
            Part::Push => &self.rejected,
            Part::Storage => &self.storage,
            Part::Stream => &self.stream,
        }
    }

    /// Whether the other says the same.
    fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Error>, other: &Option<Error>| match (one, other) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.sync == other.sync
            && self.certificate_ends == other.certificate_ends
            && self.rejected_type == other.rejected_type
            && Part::ALL.into_iter().all(|part| same(self.part(part), other.part(part)))
            && self.state_dir.iter().zip(&other.state_dir).all(|(one, other)| same(one, other))
    }

    /// Notes when the failures of now began.
    fn note_times(&mut self, now: SystemTime) {
        for part in Part::ALL {
            let failing = self.part(part).is_some();
            let since = &mut self.since[part as usize];
            *since = failing.then(|| since.unwrap_or(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_failure_has_its_reason_and_the_time_it_began() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut health = Health { sync: SyncState::Synced, ..Health::default() };
        assert!(health.is_ok());
        health.stream = Some(Error::new(ErrorKind::Unavailable, "gone"));
        health.note_times(at(1));
        health.stream = Some(Error::new(ErrorKind::Unavailable, "still gone"));
        health.identity = Some(Error::new(ErrorKind::Unavailable, "no CA"));
        health.note_times(at(2));
        let failures: Vec<_> =
            health.failures().map(|one| (one.part, one.error.to_string(), one.since)).collect();
        assert_eq!(
            failures,
            [(Part::Identity, "no CA".to_owned(), at(2)), (Part::Stream, "still gone".to_owned(), at(1))]
        );
        health.stream = None;
        health.note_times(at(3));
        assert_eq!(health.failures().count(), 1);
        assert!(!health.is_ok());
    }
}
