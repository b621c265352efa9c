//! The limit on simultaneous sockets to upstream DNS servers.
//!
//! Each query has a connected socket of its own, with a random port, so that a forged answer must guess the port and
//! the ID. While the servers do not answer, the sockets add up: without a limit, a DNS outage would use all file
//! descriptors of the process.

use std::{sync::Arc, time::Duration};

use sidestep_util::descriptors::{Budget, Permit};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

/// The divisor of the number of free file descriptors: sockets to upstream DNS may have one quarter of them.
const DIVISOR: usize = 4;
/// The maximum number of sockets, whatever the limit of the process is.
const MAXIMUM: usize = 1024;

/// The sockets of all resolvers that are built from one [`Upstream`](super::Upstream) and its clones.
#[derive(Debug)]
pub(crate) struct SocketLimit {
    budget: Arc<Budget>,
    /// Queries that wait for a socket get one in the order of their arrival: only the first one waits for `released`.
    queue: Semaphore,
    released: Notify,
}

/// The permission to have one open socket. Dropping the value returns the permission.
#[derive(Debug)]
pub(super) struct SocketPermit {
    limit: Arc<SocketLimit>,
    permit: Option<Permit>,
}

/// The reason why a query gets no socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NoSocket {
    #[error(
        "all {limit} sockets for upstream DNS were in use for {waited:?}: other queries wait for servers that do not \
         answer; check the servers, or raise the limit of open files (RLIMIT_NOFILE)"
    )]
    InUse { limit: usize, waited: Duration },
    #[error("this process has too few free file descriptors: raise the limit of open files (RLIMIT_NOFILE)")]
    NoDescriptors,
}

impl Default for SocketLimit {
    fn default() -> Self {
        Self::new(Budget::new(DIVISOR, MAXIMUM))
    }
}

impl SocketLimit {
    fn new(budget: Budget) -> Self {
        Self { budget: Arc::new(budget), queue: Semaphore::new(1), released: Notify::new() }
    }

    /// Takes the permission to open a socket. At the limit, waits for at most `longest` until another query closes its
    /// socket.
    pub(super) async fn acquire(self: &Arc<Self>, longest: Duration) -> Result<SocketPermit, NoSocket> {
        match timeout(longest, self.wait()).await {
            Ok(acquired) => acquired,
            Err(_) => Err(NoSocket::InUse { limit: self.budget.current_limit(), waited: longest }),
        }
    }

    async fn wait(self: &Arc<Self>) -> Result<SocketPermit, NoSocket> {
        // The semaphore is never closed.
        let _first = self.queue.acquire().await;
        loop {
            let released = self.released.notified();
            if let Some(permit) = self.budget.acquire(1) {
                return Ok(SocketPermit { limit: self.clone(), permit: Some(permit) });
            }
            if self.budget.in_use() == 0 {
                return Err(NoSocket::NoDescriptors);
            }
            released.await;
        }
    }

    /// Returns the number of queries that one group of clients, such as those of a DNS listener, may send
    /// simultaneously: half of the maximum number of sockets. The other half remains for this process.
    #[cfg(all(feature = "listener", unix))]
    pub(crate) fn share(&self) -> usize {
        self.budget.current_limit() / 2
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.limit.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;
    use tokio::{pin, time::Instant};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn limit(maximum: usize) -> Arc<SocketLimit> {
        Arc::new(SocketLimit::new(Budget::new(1, maximum)))
    }

    #[tokio::test(start_paused = true)]
    async fn queries_beyond_the_limit_wait_in_order_until_a_socket_is_returned() {
        let limit = limit(2);
        let first = limit.acquire(LONGEST).await.unwrap();
        let _second = limit.acquire(LONGEST).await.unwrap();
        let (third, fourth) = (limit.acquire(LONGEST), limit.acquire(LONGEST));
        pin!(third, fourth);
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        drop(first);
        assert!(poll!(&mut fourth).is_pending(), "the third waits longer");
        let third = third.await.unwrap();
        assert!(poll!(&mut fourth).is_pending());
        drop(third);
        assert!(fourth.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_socket_is_bounded() {
        let limit = limit(1);
        let _held = limit.acquire(LONGEST).await.unwrap();
        let start = Instant::now();
        let error = limit.acquire(LONGEST).await.unwrap_err();
        assert_eq!(error, NoSocket::InUse { limit: 1, waited: LONGEST });
        assert_eq!(start.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_that_is_dropped_while_it_waits_does_not_delay_the_next_one() {
        let limit = limit(1);
        let held = limit.acquire(LONGEST).await.unwrap();
        let mut dropped = Box::pin(limit.acquire(LONGEST));
        assert!(poll!(&mut dropped).is_pending());
        drop(held);
        drop(dropped);
        let next = limit.acquire(LONGEST);
        pin!(next);
        assert!(matches!(poll!(next), Poll::Ready(Ok(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_free_descriptor_a_query_fails_immediately() {
        let limit = limit(0);
        let start = Instant::now();
        assert_eq!(limit.acquire(LONGEST).await.unwrap_err(), NoSocket::NoDescriptors);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
