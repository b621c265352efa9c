//! How long an answer may be cached (RFC 1035 §3.2.1, RFC 2308, RFC 2181 §8).

use std::time::Duration;

use super::{
    header::{Code, counts, is_truncated},
    question::end,
    record::{ANY, OPT, Record, SOA, u16_at, u32_at},
};

/// How long an answer may be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) ttl: Duration,
    /// Whether it has records of the type asked for. It is a denial otherwise.
    pub(crate) positive: bool,
}

/// No answer is kept for longer, whatever it says (RFC 8767 §4 allows up to a week; RFC 2308 §5 an hour to three for
/// denials).
const LONGEST: u32 = 24 * 3600;
const LONGEST_DENIAL: u32 = 3 * 3600;

impl Lifetime {
    /// `None` for what is not kept: failures, truncated answers, denials without a SOA record (RFC 2308 §5), and what
    /// cannot be read.
    pub(crate) fn of(answer: &[u8]) -> Option<Self> {
        let code = Code::of(answer)?;
        if is_truncated(answer) || !matches!(code, Code::NoError | Code::NxDomain) {
            return None;
        }
        let question_end = end(answer)?;
        let asked = u16_at(answer, question_end - 4)?;
        let [answers, authorities, _] = counts(answer)?;
        let (mut at, mut ttl, mut positive, mut soa) = (question_end, LONGEST, false, None);
        for number in 0..answers + authorities {
            let record = Record::read(answer, at)?;
            at = record.data.end;
            if number < answers {
                ttl = ttl.min(seconds(record.ttl));
                positive |= record.kind == asked || asked == ANY;
            } else if record.kind == SOA {
                // Its last field bounds denials as well.
                let minimum = u32_at(answer, record.data.end.checked_sub(4)?)?;
                soa = Some(seconds(record.ttl).min(minimum).min(LONGEST_DENIAL));
            }
        }
        positive &= code == Code::NoError;
        let ttl = if positive { ttl } else { ttl.min(soa?) };
        Some(Self { ttl: Duration::from_secs(ttl.into()), positive })
    }
}

/// RFC 2181 §8: a TTL with the highest bit set is zero.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Changes all TTLs; `None`, and nothing more, where the message cannot be read to its end.
pub(crate) fn with_ttls(answer: &mut [u8], change: impl Fn(u32) -> u32) -> Option<()> {
    let mut at = end(answer)?;
    for _ in 0..counts(answer)?.iter().sum() {
        let record = Record::read(answer, at)?;
        at = record.data.end;
        // The TTL of an OPT record is something else (RFC 6891 §6.1.3).
        if record.kind != OPT {
            let ttl = change(seconds(record.ttl)).to_be_bytes();
            answer[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl);
        }
    }
    Some(())
}
