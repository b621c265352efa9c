//! Endpoints that failed lately, so that new connections try others first.
//!
//! istiod's EDS does not know what a client sees, and a gateway's health is never known at all. A sidecar ejects
//! endpoints as the DestinationRule's `outlierDetection` says; this client needs no rule, because it never takes an
//! endpoint away: one that failed goes behind the others of its cluster, whatever their priority, for a second, and for
//! twice as long with each further failure. The first success ends it. Where all fail, all are tried as if none had.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::ErrorKind;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A failure that is so long over is forgotten, and the next one is the first again.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// More are not remembered: the oldest makes way.
const MOST: usize = 4096;

/// An endpoint that failed at the last attempt, and goes behind the others of its cluster for a while.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailingEndpoint {
    /// The cluster that it was tried for: `outbound|3002||forecast.weather.svc.cluster.local`.
    pub cluster: String,
    /// Its address: `10.1.2.3:15443`.
    pub endpoint: String,
    /// How often in a row.
    pub failures: u32,
    /// What it failed with, the last time.
    pub kind: ErrorKind,
    /// For how much longer it goes behind the others. Zero: it is tried like them, and has not succeeded yet.
    pub deferred_for: Duration,
}

/// What one membership has seen. Reading is wait-free, and free of cost while nothing fails.
#[derive(Default)]
pub(crate) struct Failures {
    any: AtomicBool,
    failing: ArcSwap<HashMap<Key, Failing>>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    cluster: String,
    endpoint: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) count: u32,
    pub(crate) kind: ErrorKind,
    until: Instant,
}

impl Failing {
    pub(crate) fn deferred_for(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Failures {
    /// Notes that an attempt failed.
    pub(crate) fn failed(&self, cluster: &str, endpoint: &str, kind: ErrorKind) {
        let key = Key::of(cluster, endpoint);
        let now = Instant::now();
        self.failing.rcu(|failing| {
            let mut failing = HashMap::clone(failing);
            failing.retain(|_, one| now < one.until + FORGOTTEN);
            if failing.len() >= MOST {
                let oldest = failing.iter().min_by_key(|(_, one)| one.until).map(|(key, _)| key.clone());
                oldest.and_then(|oldest| failing.remove(&oldest));
            }
            let count = failing.get(&key).map_or(1, |before| before.count.saturating_add(1));
            failing.insert(key.clone(), Failing { count, kind, until: now + patience(count) });
            failing
        });
        self.any.store(true, Ordering::Release);
    }

    /// Notes that an attempt succeeded.
    pub(crate) fn succeeded(&self, cluster: &str, endpoint: &str) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let key = Key::of(cluster, endpoint);
        if self.failing.load().contains_key(&key) {
            self.failing.rcu(|failing| {
                let mut failing = HashMap::clone(failing);
                failing.remove(&key);
                failing
            });
        }
    }

    /// What is known of an endpoint that has failed lately and goes behind the others.
    pub(crate) fn deferred(&self, cluster: &str, endpoint: &str) -> Option<Failing> {
        let known = self.failing.load().get(&Key::of(cluster, endpoint)).copied()?;
        (Instant::now() < known.until).then_some(known)
    }

    /// Whether nothing has failed yet, so that nobody has to be asked about.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    pub(crate) fn all(&self) -> Vec<FailingEndpoint> {
        let failing = self.failing.load();
        let one = |(key, one): (&Key, &Failing)| FailingEndpoint {
            cluster: key.cluster.clone(),
            endpoint: key.endpoint.clone(),
            failures: one.count,
            kind: one.kind,
            deferred_for: one.deferred_for(),
        };
        let mut all: Vec<_> = failing.iter().map(one).collect();
        all.sort_by(|a, b| (&a.cluster, &a.endpoint).cmp(&(&b.cluster, &b.endpoint)));
        all
    }
}

impl Key {
    fn of(cluster: &str, endpoint: &str) -> Self {
        Self { cluster: cluster.to_owned(), endpoint: endpoint.to_owned() }
    }
}

/// How long an endpoint goes behind the others after so many failures.
fn patience(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.failing.load().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "outbound|80||a";
    const ENDPOINT: &str = "10.0.0.1:80";

    fn is_deferred(failures: &Failures) -> bool {
        failures.deferred(CLUSTER, ENDPOINT).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_in_a_row_defers_for_twice_as_long() {
        let failures = Failures::default();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            failures.failed(CLUSTER, ENDPOINT, ErrorKind::Dial);
            assert_eq!(failures.all()[0].deferred_for, Duration::from_secs(seconds));
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert!(!is_deferred(&failures));
        }
        assert_eq!(failures.all()[0].failures, 7, "it has not succeeded yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_it_and_time_forgets_it() {
        let failures = Failures::default();
        failures.failed(CLUSTER, ENDPOINT, ErrorKind::Dial);
        assert!(
            failures.deferred("outbound|81||a", ENDPOINT).is_none(),
            "of another cluster nothing is known"
        );
        failures.succeeded(CLUSTER, ENDPOINT);
        assert!(!is_deferred(&failures) && failures.all().is_empty());
        failures.failed(CLUSTER, ENDPOINT, ErrorKind::Dial);
        tokio::time::advance(Duration::from_secs(120)).await;
        failures.failed(CLUSTER, ENDPOINT, ErrorKind::Dial);
        assert_eq!(failures.all()[0].failures, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_remembered() {
        let failures = Failures::default();
        for port in 0..MOST + 10 {
            failures.failed(CLUSTER, &format!("10.0.0.1:{port}"), ErrorKind::Dial);
        }
        assert_eq!(failures.all().len(), MOST);
    }

    #[test]
    fn no_number_of_failures_is_too_large() {
        assert_eq!(patience(u32::MAX), LONGEST);
    }
}
