//! What of a DNS message decides and bounds its answer: bytes in, bytes out.

use std::time::Duration;

use crate::wire::{ANY, HEADER, OPT, Record, SOA, counts, skip_name, u16_at, u32_at};

/// A question, as far as its answer depends on it: name in lower case, type, class, RD, AD and CD, and whether there is
/// an OPT record, with DO.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Question(Box<[u8]>);

impl Question {
    /// `None` for a message whose answer may depend on anything else: several questions, EDNS options, other records.
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        let end = end(message)?;
        let edns = match counts(message)? {
            [0, 0, 0] => [0, 0],
            [0, 0, 1] => {
                let record = Record::read(message, end).filter(|record| record.kind == OPT)?;
                let plain = record.data.is_empty() && record.data.end == message.len();
                plain.then_some([1, message[record.ttl_at + 2]])?
            }
            _ => return None,
        };
        let mut key = message[HEADER..end].to_ascii_lowercase();
        key.extend_from_slice(&[message[2] & RD, message[3] & (AD | CD)]);
        key.extend_from_slice(&edns);
        Some(Self(key.into()))
    }
}

const RD: u8 = 0x01;
const AD: u8 = 0x20;
const CD: u8 = 0x10;
const TC: u8 = 0x02;

const NX_DOMAIN: u8 = 3;

/// Where the only question of a message ends.
pub(super) fn end(message: &[u8]) -> Option<usize> {
    let end = skip_name(message, HEADER)? + 4;
    (u16_at(message, 4)? == 1 && message.len() >= end).then_some(end)
}

/// The longest answer over UDP that the asker takes (RFC 1035 §4.2.1; RFC 6891 §6.2.3).
pub(super) fn udp_size(message: &[u8]) -> usize {
    let opt = end(message).and_then(|end| Record::read(message, end)).filter(|record| record.kind == OPT);
    opt.map_or(512, |opt| usize::from(opt.class).max(512))
}

/// SERVFAIL, NOTIMP, REFUSED: what makes way for the next server (glibc's `res_nsend`).
pub(super) fn is_failure(answer: &[u8]) -> bool {
    matches!(code(answer), 2 | 4 | 5)
}

pub(super) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TC != 0)
}

/// The response code (RFC 1035 §4.1.1).
pub(super) fn code(answer: &[u8]) -> u8 {
    answer.get(3).map_or(2, |flags| flags & 0x0f)
}

/// Whether it answers this question: the id, the operation, and the question, whose case the server may have changed.
/// An answer that failed early may come without the question.
pub(super) fn is_answer(answer: &[u8], question: &[u8]) -> bool {
    let asked = end(question).unwrap_or(question.len());
    let (Some(header), Some(asked)) = (answer.get(..HEADER), question.get(HEADER..asked)) else {
        return false;
    };
    let same_question = || {
        let repeated = answer.get(HEADER..HEADER + asked.len());
        repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked))
    };
    header[..2] == question[..2]
        && header[2] & 0xf8 == 0x80
        && (same_question() || header[3] & 0x0f != 0 && header[4..6] == [0, 0])
}

/// Gives an answer the id, and the case of the question, of the message that it is an answer to.
pub(super) fn address_to(answer: &mut [u8], message: &[u8]) {
    answer[..2].copy_from_slice(&message[..2]);
    let end = end(message).filter(|end| self::end(answer) == Some(*end));
    if let Some(end) = end {
        answer[HEADER..end].copy_from_slice(&message[HEADER..end]);
    }
}

/// How long an answer may be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lifetime {
    pub(super) ttl: Duration,
    /// Whether it has records of the type asked for. It is a denial otherwise.
    pub(super) positive: bool,
}

/// No answer is kept for longer, whatever it says (RFC 8767 §4 allows up to a week; RFC 2308 §5 an hour to three for
/// denials).
const LONGEST: u32 = 24 * 3600;
const LONGEST_DENIAL: u32 = 3 * 3600;

impl Lifetime {
    /// `None` for what is not kept: failures, truncated answers, denials without a SOA record (RFC 2308 §5), and what
    /// cannot be read.
    pub(super) fn of(answer: &[u8]) -> Option<Self> {
        if is_truncated(answer) || !matches!(code(answer), 0 | NX_DOMAIN) {
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
        positive &= code(answer) == 0;
        let ttl = if positive { ttl } else { ttl.min(soa?) };
        Some(Self { ttl: Duration::from_secs(ttl.into()), positive })
    }
}

/// RFC 2181 §8: a TTL with the highest bit set is zero.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Changes all TTLs; `None`, and nothing more, where the message cannot be read to its end.
pub(super) fn with_ttls(answer: &mut [u8], change: impl Fn(u32) -> u32) -> Option<()> {
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
