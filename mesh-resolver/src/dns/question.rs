//! What of a message decides and bounds its answer, and whether a message is that answer.

use super::{
    PLAIN_UDP_SIZE,
    header::{AD, CD, HEADER, OPCODE, QR, RCODE, RD, counts},
    name,
    record::{OPT, Record, u16_at},
};

/// A question, as far as its answer depends on it: name in lower case, type, class, RD, AD and CD, and whether there is
/// an OPT record, with DO.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Question(Box<[u8]>);

impl Question {
    /// `None` for a message whose answer may depend on anything else: several questions, EDNS options, other records.
    pub(crate) fn of(message: &[u8]) -> Option<Self> {
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

/// Where the only question of a message ends.
pub(super) fn end(message: &[u8]) -> Option<usize> {
    let end = name::skip(message, HEADER)? + 4;
    (u16_at(message, 4)? == 1 && message.len() >= end).then_some(end)
}

/// The longest answer over UDP that the asker takes (RFC 1035 §4.2.1; RFC 6891 §6.2.3).
pub(crate) fn udp_size(message: &[u8]) -> usize {
    let opt = end(message).and_then(|end| Record::read(message, end)).filter(|record| record.kind == OPT);
    opt.map_or(PLAIN_UDP_SIZE, |opt| opt.class.max(PLAIN_UDP_SIZE)).into()
}

/// Whether it answers this question: the id, the operation, and the question, whose case the server may have changed.
/// An answer that failed early may come without the question.
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

/// Gives an answer the id, and the case of the question, of the message that it is an answer to.
pub(crate) fn address_to(answer: &mut [u8], message: &[u8]) {
    answer[..2].copy_from_slice(&message[..2]);
    let end = end(message).filter(|end| self::end(answer) == Some(*end));
    if let Some(end) = end {
        answer[HEADER..end].copy_from_slice(&message[HEADER..end]);
    }
}
