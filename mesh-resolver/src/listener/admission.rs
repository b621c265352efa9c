//! The limit on queries of a listener that wait for upstream DNS.

use std::sync::{
    Arc,
    atomic::{
        AtomicUsize,
        Ordering::{AcqRel, Acquire},
    },
};

use crate::upstream::SocketLimit;

/// Counts the queries that wait for upstream DNS. Their limit is the configured one, but at most the listener's share
/// of the sockets for upstream DNS, so that clients of the listener cannot delay the lookups of this process.
#[derive(Debug)]
pub(super) struct Admission {
    maximum: usize,
    sockets: Arc<SocketLimit>,
    waiting: AtomicUsize,
}

/// The permission of one query to wait for upstream DNS. Dropping the value returns the permission.
#[derive(Debug)]
pub(super) struct Admitted(Arc<Admission>);

impl Admission {
    pub(super) fn new(maximum: usize, sockets: Arc<SocketLimit>) -> Self {
        Self { maximum, sockets, waiting: AtomicUsize::new(0) }
    }

    /// Admits a query to the wait for upstream DNS. Returns `None` if too many queries wait already.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let limit = self.maximum.min(self.sockets.share());
        let admitted =
            self.waiting.fetch_update(AcqRel, Acquire, |waiting| (waiting < limit).then_some(waiting + 1));
        admitted.ok().map(|_| Admitted(self.clone()))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, AcqRel);
    }
}
