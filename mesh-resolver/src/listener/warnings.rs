//! The warnings of a listener that its clients can cause.

use sidestep_util::repeated::Repeated;

/// The causes of warnings. Each is logged at most once per minute, with the number of occurrences.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// A TCP connection cannot be accepted.
    pub(super) accept: Repeated,
    /// No descriptor is left for a TCP connection.
    pub(super) full: Repeated,
    /// No socket is left for a query to upstream DNS.
    pub(super) local_resource: Repeated,
    /// The only upstream server is this listener.
    pub(super) own_upstream: Repeated,
    /// A callback that the program passed to the listener panicked.
    pub(super) panics: Repeated,
    /// A UDP socket failed.
    pub(super) socket: Repeated,
}
