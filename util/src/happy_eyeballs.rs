//! Staggered connection attempts to several addresses (RFC 8305, Happy Eyeballs).

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

/// The recommended delay between two attempts (RFC 8305 §5, Connection Attempt Delay).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the address that answers first.
///
/// Attempts start in the order of the addresses: the next one after `delay`, or as soon as an attempt fails, while the
/// earlier ones go on. The first success ends the other attempts. Dropping the future ends all of them.
///
/// # Errors
///
/// The errors of all attempts in the order in which they failed; none where there is no address.
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

    /// What an address does with a connection.
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
    async fn a_silent_address_delays_the_next_by_the_stagger_only() {
        let accepts = AcceptsAfter(Duration::ZERO);
        assert_eq!(run(&[Silent, Silent, accepts]).await, (Ok(2), 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_attempt_immediately() {
        let (refuses, accepts) = (RefusesAfter(SECOND / 10), AcceptsAfter(SECOND / 10));
        assert_eq!(run(&[refuses, accepts]).await, (Ok(1), SECOND / 5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_attempt_may_still_win_once_a_later_one_runs() {
        let (slow, slower) = (AcceptsAfter(SECOND * 3 / 2), AcceptsAfter(2 * SECOND));
        assert_eq!(run(&[slow, slower]).await, (Ok(0), SECOND * 3 / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_failure_of_every_attempt_is_a_failure_and_it_has_all_errors() {
        let (slow, fast) = (RefusesAfter(3 * SECOND), RefusesAfter(SECOND / 2));
        assert_eq!(run(&[slow, fast]).await, (Err(vec![1, 0]), 3 * SECOND));
        assert_eq!(run(&[]).await, (Err(vec![]), Duration::ZERO));
    }
}
