//! A cache of upstream answers, positive and negative (RFC 2308), that also returns stale answers (RFC 8767). It does
//! no IO and reads no clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use sidestep_util::bounded_map::BoundedMap;

use crate::dns::{
    lifetime::{Lifetime, with_ttls},
    question::Question,
};

/// A bounded map from questions to answers. Answers in use are not evicted.
#[derive(Debug)]
pub(super) struct Cache {
    answers: Mutex<BoundedMap<Question, CachedAnswer, RandomState>>,
    /// The time for which an answer may be returned after its TTL has expired.
    stale: Duration,
}

#[derive(Clone, Debug)]
struct CachedAnswer {
    message: Arc<[u8]>,
    since: Instant,
    lifetime: Lifetime,
    /// The time before which the servers are not queried again, because none answered the last query; `None` if one
    /// answered (RFC 8767 §5, failure recheck timer).
    retry: Option<Instant>,
}

/// The size of one generation of the map, in bytes of messages and questions.
const CAPACITY: usize = 1 << 20;

/// The approximate overhead of a cached answer in bytes.
const OVERHEAD: usize = 200;

/// The TTL of a stale answer (RFC 8767 §5).
pub(super) const STALE_TTL: Duration = Duration::from_secs(30);

/// The pause after a failed query (RFC 8767 §5).
const RETRY: Duration = Duration::from_secs(30);

/// The result of a cache lookup.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum CacheLookup {
    /// An answer that has not expired, with the remaining TTLs.
    Fresh(Vec<u8>),
    /// An expired answer, the time since it expired, and whether to query the servers now.
    Stale {
        answer: Vec<u8>,
        age: Duration,
        refresh: bool,
    },
    Miss,
}

impl Cache {
    pub(super) fn new(stale: Duration) -> Self {
        Self { answers: Mutex::new(BoundedMap::new(CAPACITY)), stale }
    }

    pub(super) fn get(&self, question: &Question, now: Instant) -> CacheLookup {
        let Some(cached) = self.answers.lock().get(question).cloned() else { return CacheLookup::Miss };
        let since = now.saturating_duration_since(cached.since);
        let mut answer = cached.message.to_vec();
        let Some(age) = since.checked_sub(cached.lifetime.ttl).filter(|_| since >= cached.lifetime.ttl)
        else {
            let gone = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
            return match with_ttls(&mut answer, |ttl| ttl.saturating_sub(gone)) {
                Some(()) => CacheLookup::Fresh(answer),
                None => CacheLookup::Miss,
            };
        };
        let stale = cached.lifetime.positive && age < self.stale;
        match with_ttls(&mut answer, |_| u32::try_from(STALE_TTL.as_secs()).unwrap_or_default()) {
            Some(()) if stale => {
                CacheLookup::Stale { answer, age, refresh: cached.retry.is_none_or(|retry| now >= retry) }
            }
            _ => CacheLookup::Miss,
        }
    }

    /// Stores an answer if it may be cached.
    pub(super) fn insert(&self, question: Question, answer: &[u8], now: Instant) {
        let lifetime = Lifetime::from_answer(answer).filter(|lifetime| !lifetime.ttl.is_zero());
        let mut answers = self.answers.lock();
        match lifetime {
            Some(lifetime) => {
                let cached = CachedAnswer { message: answer.into(), since: now, lifetime, retry: None };
                answers.insert(question, cached, OVERHEAD + answer.len());
            }
            // The old answer is no longer valid.
            None => drop(answers.remove(&question)),
        }
    }

    /// Records that no server answered, which delays the next query for a cached question.
    pub(super) fn record_failure(&self, question: &Question, now: Instant) {
        if let Some(cached) = self.answers.lock().get(question) {
            cached.retry = now.checked_add(RETRY);
        }
    }
}

#[cfg(test)]
mod tests;
