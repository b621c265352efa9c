//! How the client is doing.

use std::time::SystemTime;

use crate::Error;

/// Where the names, clusters and endpoints at hand come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncState {
    /// No name table yet.
    #[default]
    Connecting,
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
}

impl Health {
    /// Whether everything works.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.sync == SyncState::Synced && self.stream.is_none() && self.identity.is_none()
    }
}
