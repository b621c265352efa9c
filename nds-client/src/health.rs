//! The health of a client.

mod reporter;

use std::time::{Duration, SystemTime};

pub(crate) use self::reporter::HealthReporter;
use crate::error::Error;

/// The origin of the current names, clusters and endpoints.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncState {
    /// No name table has been received.
    #[default]
    Connecting,
    /// The values are from the state directory; istiod has not answered since this process started.
    FromDisk {
        /// The age of the snapshot at the time it was read.
        age: Duration,
    },
    /// The values are from the current stream.
    Synced,
    /// The values are from a stream that has ended. They are still in use.
    Stale {
        /// The time at which the stream ended.
        since: SystemTime,
    },
}

/// The health of a client at one time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// The origin of the current values.
    pub sync: SyncState,
    /// The error of the connection to istiod; `None` while the stream is open.
    pub stream: Option<Error>,
    /// The error of the last certificate request, or of the last read of the certificate files; `None` after a success.
    pub identity: Option<Error>,
    /// The error of the last rejected push; `None` after a valid push of the same type. The values before the rejected
    /// push stay in use.
    pub rejected: Option<Error>,
    /// The error of the last access to the state directory; `None` after a success.
    pub storage: Option<Error>,
    /// The error of the host's clock; `None` unless the dates of the last certificate prove that it is wrong. A wrong
    /// clock makes valid certificates fail verification, and expired ones pass.
    pub clock: Option<Error>,
    /// The time at which the current certificate expires; `None` before the first certificate.
    pub certificate_ends: Option<SystemTime>,
    since: [Option<SystemTime>; COMPONENTS],
    /// The type URL of the rejected push; `None` if no push is rejected, or if this client does not subscribe to its
    /// type.
    rejected_type: Option<&'static str>,
    /// The errors of the state directory by [`StateDirPart`].
    state_dir: [Option<Error>; 3],
}

const COMPONENTS: usize = 5;

/// A part of the state directory that can fail independently of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StateDirPart {
    Directory,
    Identity,
    Snapshot,
}

impl SyncState {
    /// Returns a short name for metric labels.
    fn as_label(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::FromDisk { .. } => "from_disk",
            Self::Synced => "synced",
            Self::Stale { .. } => "stale",
        }
    }
}

/// A component of the client that can fail independently of the others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Component {
    /// The clock of the host: [`Health::clock`].
    Clock,
    /// The certificate of the workload: [`Health::identity`].
    Identity,
    /// The pushed resources: [`Health::rejected`].
    Push,
    /// The state directory: [`Health::storage`].
    Storage,
    /// The xDS stream: [`Health::stream`].
    Stream,
}

impl Component {
    const ALL: [Self; COMPONENTS] = [Self::Clock, Self::Identity, Self::Push, Self::Storage, Self::Stream];

    /// Returns a short name for logs and metric labels.
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

/// A failing component of the client, with its error.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ComponentFailure<'a> {
    /// The component.
    pub component: Component,
    /// The most recent error.
    pub error: &'a Error,
    /// The time of the component's first error since its last success.
    pub since: SystemTime,
}

impl Health {
    /// Returns whether the current values are from the current stream ([`SyncState::Synced`]) and no component fails.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.sync == SyncState::Synced && self.failures().next().is_none()
    }

    /// Returns the failing components with their errors.
    pub fn failures(&self) -> impl Iterator<Item = ComponentFailure<'_>> {
        Component::ALL.into_iter().filter_map(|component| {
            let error = self.error(component).as_ref()?;
            let since = self.since[component as usize].unwrap_or(SystemTime::UNIX_EPOCH);
            Some(ComponentFailure { component, error, since })
        })
    }

    fn error(&self, component: Component) -> &Option<Error> {
        match component {
            Component::Clock => &self.clock,
            Component::Identity => &self.identity,
            Component::Push => &self.rejected,
            Component::Storage => &self.storage,
            Component::Stream => &self.stream,
        }
    }

    /// Returns whether both values have the same content.
    fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Error>, other: &Option<Error>| match (one, other) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.sync == other.sync
            && self.certificate_ends == other.certificate_ends
            && self.rejected_type == other.rejected_type
            && Component::ALL.into_iter().all(|component| same(self.error(component), other.error(component)))
            && self.state_dir.iter().zip(&other.state_dir).all(|(one, other)| same(one, other))
    }

    /// Records `now` as the begin of each new failure, and removes the begin of each failure that has ended.
    fn record_begin(&mut self, now: SystemTime) {
        for component in Component::ALL {
            let failing = self.error(component).is_some();
            let since = &mut self.since[component as usize];
            *since = failing.then(|| since.unwrap_or(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_failure_has_an_error_and_the_time_of_its_begin() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut health = Health { sync: SyncState::Synced, ..Health::default() };
        assert!(health.is_ok());
        health.stream = Some(Error::new(ErrorKind::Unavailable, "gone"));
        health.record_begin(at(1));
        health.stream = Some(Error::new(ErrorKind::Unavailable, "still gone"));
        health.identity = Some(Error::new(ErrorKind::Unavailable, "no CA"));
        health.record_begin(at(2));
        let failures: Vec<_> =
            health.failures().map(|one| (one.component, one.error.to_string(), one.since)).collect();
        assert_eq!(
            failures,
            [
                (Component::Identity, "no CA".to_owned(), at(2)),
                (Component::Stream, "still gone".to_owned(), at(1))
            ]
        );
        health.stream = None;
        health.record_begin(at(3));
        assert_eq!(health.failures().count(), 1);
        assert!(!health.is_ok());
    }
}
