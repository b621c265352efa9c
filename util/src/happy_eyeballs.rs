//! Staggered connection attempts to several addresses (RFC 8305, Happy Eyeballs).

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

/// The recommended delay between two attempts (RFC 8305 §5, Connection Attempt Delay).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the address that answers first.
///
/// Attempts start in the order of the addresses. The next one starts after `delay`, or immediately when an attempt
/// fails; earlier attempts continue. The first success ends the other attempts.
///
/// # Cancel safety
///
/// Dropping the future ends all attempts.
///
/// # Errors
///
/// The errors of all attempts in the order of the failures. The list is empty if there are no addresses.
pub async fn connect<A, T, E, F>(
    addresses: impl IntoIterator<Item = A>,
    delay: Duration,
    mut attempt: impl FnMut(A) -> F,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        attempts.extend(addresses.next().map(&mut attempt));
        let ended = tokio::select! {
            ended = attempts.next() => ended,
            () = sleep(delay), if addresses.peek().is_some() => continue,
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => errors.push(error),
            None => return Err(errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The behaviour of an address in a test.
    #[derive(Clone, Copy)]
    enum Peer {
        AcceptsAfter(Duration),
        RefusesAfter(Duration),
        Silent,
    }
    use Peer::{AcceptsAfter, RefusesAfter, Silent};

    async fn run(peers: &[Peer]) -> (Result<usize, Vec<usize>>, Duration) {
        let start = Instant::now();
        let attempt = |(number, peer): (usize, Peer)| async move {
            match peer {
                AcceptsAfter(time) => {
                    sleep(time).await;
                    Ok(number)
                }
                RefusesAfter(time) => {
                    sleep(time).await;
                    Err(number)
                }
                Silent => pending().await,
            }
        };
        let result = connect(peers.iter().copied().enumerate(), SECOND, attempt).await;
        (result, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_address_delays_the_next_only_by_the_delay() {
        let accepts = AcceptsAfter(Duration::ZERO);
        assert_eq!(run(&[Silent, Silent, accepts]).await, (Ok(2), 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_attempt_starts_the_next_immediately() {
        let (refuses, accepts) = (RefusesAfter(SECOND / 10), AcceptsAfter(SECOND / 10));
        assert_eq!(run(&[refuses, accepts]).await, (Ok(1), SECOND / 5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_attempt_can_succeed_after_a_later_one_started() {
        let (slow, slower) = (AcceptsAfter(SECOND * 3 / 2), AcceptsAfter(2 * SECOND));
        assert_eq!(run(&[slow, slower]).await, (Ok(0), SECOND * 3 / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn if_every_attempt_fails_all_errors_are_returned() {
        let (slow, fast) = (RefusesAfter(3 * SECOND), RefusesAfter(SECOND / 2));
        assert_eq!(run(&[slow, fast]).await, (Err(vec![1, 0]), 3 * SECOND));
        assert_eq!(run(&[]).await, (Err(vec![]), Duration::ZERO));
    }
}
