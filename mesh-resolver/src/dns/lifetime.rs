//! The cache lifetime of an answer (RFC 1035 §3.2.1, RFC 2308, RFC 2181 §8).

use std::time::Duration;

use super::{
    header::{Code, counts, is_truncated},
    question::end,
    record::{ANY, OPT, Record, SOA, u16_at, u32_at},
};

/// The cache lifetime of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) ttl: Duration,
    /// True if the answer has records of the requested type; false if the answer is NODATA or NXDOMAIN.
    pub(crate) positive: bool,
}

/// The maximum cache lifetimes of positive and negative answers, in seconds. RFC 8767 §4 allows up to a week; RFC 2308
/// §5 suggests one to three hours for negative answers.
const MAX_TTL: u32 = 24 * 3600;
const MAX_NEGATIVE_TTL: u32 = 3 * 3600;

impl Lifetime {
    /// Returns the lifetime of an answer. Returns `None` for answers that must not be cached: failures, truncated
    /// answers, negative answers without an SOA record (RFC 2308 §5), and malformed messages.
    pub(crate) fn from_answer(answer: &[u8]) -> Option<Self> {
        let code = Code::from_message(answer)?;
        if is_truncated(answer) || !matches!(code, Code::NoError | Code::NxDomain) {
            return None;
        }
        let question_end = end(answer)?;
        let asked = u16_at(answer, question_end - 4)?;
        let [answers, authorities, _] = counts(answer)?;
        let (mut at, mut ttl, mut positive, mut soa) = (question_end, MAX_TTL, false, None);
        for number in 0..answers + authorities {
            let record = Record::read(answer, at)?;
            at = record.data.end;
            if number < answers {
                ttl = ttl.min(seconds(record.ttl));
                positive |= record.kind == asked || asked == ANY;
            } else if record.kind == SOA {
                // The last field of an SOA record, MINIMUM, also bounds negative answers.
                let minimum = u32_at(answer, record.data.end.checked_sub(4)?)?;
                soa = Some(seconds(record.ttl).min(minimum).min(MAX_NEGATIVE_TTL));
            }
        }
        positive &= code == Code::NoError;
        let ttl = if positive { ttl } else { ttl.min(soa?) };
        Some(Self { ttl: Duration::from_secs(ttl.into()), positive })
    }
}

/// Returns a TTL in seconds: zero if the highest bit of the field is set (RFC 2181 §8), else its value.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Applies `change` to all TTLs. Returns `None` for a malformed message; some of its TTLs may have changed.
pub(crate) fn with_ttls(answer: &mut [u8], change: impl Fn(u32) -> u32) -> Option<()> {
    let mut at = end(answer)?;
    for _ in 0..counts(answer)?.iter().sum() {
        let record = Record::read(answer, at)?;
        at = record.data.end;
        // The TTL field of an OPT record contains flags (RFC 6891 §6.1.3).
        if record.kind != OPT {
            let ttl = change(seconds(record.ttl)).to_be_bytes();
            answer[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl);
        }
    }
    Some(())
}
