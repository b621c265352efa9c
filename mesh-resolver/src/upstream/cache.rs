//! Answers of upstream DNS, kept for as long as they say, denials too (RFC 2308); and for a while longer, for the time
//! when no server answers (RFC 8767). A value: time comes in, nothing goes out.

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

/// Answers by question. What is used stays.
#[derive(Debug)]
pub(super) struct Cache {
    answers: Mutex<BoundedMap<Question, Kept, RandomState>>,
    /// How long an answer may be given after its time.
    stale: Duration,
}

#[derive(Clone, Debug)]
struct Kept {
    message: Arc<[u8]>,
    since: Instant,
    lifetime: Lifetime,
    /// No server is asked again before, because none has answered (RFC 8767 §5, failure recheck timer).
    retry: Option<Instant>,
}

/// Bytes of messages and questions per generation.
const CAPACITY: usize = 1 << 20;

/// What a kept answer costs beside its bytes, about.
const OVERHEAD: usize = 200;

/// RFC 8767 §5: what is given after its time says that it may be kept for 30 seconds.
pub(super) const STALE_TTL: Duration = Duration::from_secs(30);

/// RFC 8767 §5.
const RETRY: Duration = Duration::from_secs(30);

/// What there is for a question.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// An answer whose time is not over; its TTLs are what is left.
    Fresh(Vec<u8>),
    /// An answer whose time has been over for so long, for the case that no server answers, and whether to ask one.
    Stale {
        answer: Vec<u8>,
        age: Duration,
        ask: bool,
    },
    Nothing,
}

impl Cache {
    pub(super) fn new(stale: Duration) -> Self {
        Self { answers: Mutex::new(BoundedMap::new(CAPACITY)), stale }
    }

    pub(super) fn get(&self, question: &Question, now: Instant) -> Found {
        let Some(kept) = self.answers.lock().get(question).cloned() else { return Found::Nothing };
        let since = now.saturating_duration_since(kept.since);
        let mut answer = kept.message.to_vec();
        let Some(age) = since.checked_sub(kept.lifetime.ttl).filter(|_| since >= kept.lifetime.ttl) else {
            let gone = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
            return match with_ttls(&mut answer, |ttl| ttl.saturating_sub(gone)) {
                Some(()) => Found::Fresh(answer),
                None => Found::Nothing,
            };
        };
        let stale = kept.lifetime.positive && age < self.stale;
        match with_ttls(&mut answer, |_| u32::try_from(STALE_TTL.as_secs()).unwrap_or_default()) {
            Some(()) if stale => {
                Found::Stale { answer, age, ask: kept.retry.is_none_or(|retry| now >= retry) }
            }
            _ => Found::Nothing,
        }
    }

    /// Keeps an answer, if it is one to keep.
    pub(super) fn put(&self, question: Question, answer: &[u8], now: Instant) {
        let lifetime = Lifetime::of(answer).filter(|lifetime| !lifetime.ttl.is_zero());
        let mut answers = self.answers.lock();
        match lifetime {
            Some(lifetime) => {
                let kept = Kept { message: answer.into(), since: now, lifetime, retry: None };
                answers.insert(question, kept, OVERHEAD + answer.len());
            }
            // What was kept is no longer what upstream says.
            None => drop(answers.remove(&question)),
        }
    }

    /// No server has answered: for a while they need not be asked again where there is something to give.
    pub(super) fn failed(&self, question: &Question, now: Instant) {
        if let Some(kept) = self.answers.lock().get(question) {
            kept.retry = Some(now + RETRY);
        }
    }
}

#[cfg(test)]
mod tests;
