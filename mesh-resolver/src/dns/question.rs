//! The parts of a message that determine its answer, and the check that a message answers a question.

use super::{
    PLAIN_UDP_SIZE,
    header::{AD, CD, HEADER, OPCODE, QR, RCODE, RD, counts},
    name,
    record::{OPT, Record, u16_at},
};

/// The cache key of a question: name in lower case, type, class, the bits RD, AD and CD, the presence of an OPT
/// record and its DO bit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Question(Box<[u8]>);

impl Question {
    /// Returns the cache key of a message. Returns `None` if the answer may depend on more than the key: several
    /// questions, EDNS options, or other records.
    pub(crate) fn from_message(message: &[u8]) -> Option<Self> {
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

/// Returns the position after the question. Returns `None` unless the message has exactly one question.
pub(super) fn end(message: &[u8]) -> Option<usize> {
    let end = name::skip(message, HEADER)? + 4;
    (u16_at(message, 4)? == 1 && message.len() >= end).then_some(end)
}

/// Returns the largest UDP answer that the client accepts (RFC 1035 §4.2.1; RFC 6891 §6.2.3).
pub(crate) fn udp_size(message: &[u8]) -> usize {
    let opt = end(message).and_then(|end| Record::read(message, end)).filter(|record| record.kind == OPT);
    opt.map_or(PLAIN_UDP_SIZE, |opt| opt.class.max(PLAIN_UDP_SIZE)).into()
}

/// Whether a message answers this question: the ID, the opcode and the question must match. The server may change the
/// case of the name. A failure response may omit the question.
pub(crate) fn is_answer(answer: &[u8], question: &[u8]) -> bool {
    let asked = end(question).unwrap_or(question.len());
    let (Some(header), Some(asked)) = (answer.get(..HEADER), question.get(HEADER..asked)) else {
        return false;
    };
    let same_question = || {
        let repeated = answer.get(HEADER..HEADER + asked.len());
        repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked))
    };
    header[..2] == question[..2]
        && header[2] & (QR | OPCODE) == QR
        && (same_question() || header[3] & RCODE != 0 && header[4..6] == [0, 0])
}

/// Copies the ID and the spelling of the question from `message` into its answer.
pub(crate) fn copy_question(answer: &mut [u8], message: &[u8]) {
    answer[..2].copy_from_slice(&message[..2]);
    let end = end(message).filter(|end| self::end(answer) == Some(*end));
    if let Some(end) = end {
        answer[HEADER..end].copy_from_slice(&message[HEADER..end]);
    }
}
