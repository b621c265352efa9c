//! The warnings of a listener that its clients can cause.

use std::time::Instant;

use sidestep_util::warn_limit::WarnLimit;

/// Decides which warnings are logged: each cause at most once per minute, with the number of occurrences.
#[derive(Debug)]
pub(super) struct Warnings(WarnLimit<Cause>);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Cause {
    /// A TCP connection cannot be accepted.
    Accept,
    /// No descriptor is left for a TCP connection.
    Full,
    /// No socket is left for a query to upstream DNS.
    LocalResource,
    /// The only upstream server is this listener.
    OwnUpstream,
    /// A callback that the program passed to the listener panicked.
    Panic,
    /// A UDP socket failed.
    Socket,
}

impl Warnings {
    /// Counts an occurrence. If the caller must write a log line, returns the number of occurrences since the last log
    /// line, including this one.
    pub(super) fn occurred(&self, cause: Cause) -> Option<u64> {
        self.0.occurred(cause, Instant::now())
    }
}

impl Default for Warnings {
    fn default() -> Self {
        Self(WarnLimit::per_minute())
    }
}
