//! The message header (RFC 1035 §4.1.1), with the AD and CD bits (RFC 4035 §3.2).

use super::record::u16_at;

/// The length of the header in bytes.
pub(crate) const HEADER: usize = 12;

/// Bits of the third byte of the header.
pub(super) const QR: u8 = 0x80;
pub(super) const OPCODE: u8 = 0x78;
pub(super) const AA: u8 = 0x04;
pub(super) const TC: u8 = 0x02;
pub(super) const RD: u8 = 0x01;

/// Bits of the fourth byte of the header.
pub(super) const RA: u8 = 0x80;
pub(super) const AD: u8 = 0x20;
pub(super) const CD: u8 = 0x10;
pub(super) const RCODE: u8 = 0x0f;

/// Response codes (RFC 1035 §4.1.1; BADVERS: RFC 6891 §9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}

impl Code {
    /// Returns the response code in the header, without the extension in the OPT record. Returns `None` for a code
    /// without a variant, or if the message has no complete header.
    pub(crate) fn from_message(message: &[u8]) -> Option<Self> {
        let codes =
            [Self::NoError, Self::FormErr, Self::ServFail, Self::NxDomain, Self::NotImp, Self::Refused];
        codes.get(usize::from(message.get(3)? & RCODE)).copied()
    }

    /// Splits the response code into its lower four bits, for the header, and its upper eight bits, for the OPT record.
    #[cfg(all(feature = "listener", unix))]
    pub(super) fn bits(self) -> (u8, u8) {
        let code = self as u8;
        (code & RCODE, code >> 4)
    }
}

/// Whether the answer is a failure, after which the resolver tries the next server: SERVFAIL, NOTIMP or REFUSED
/// (glibc's `res_nsend`).
pub(crate) fn is_failure(answer: &[u8]) -> bool {
    answer.len() < HEADER
        || matches!(Code::from_message(answer), Some(Code::ServFail | Code::NotImp | Code::Refused))
}

pub(crate) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TC != 0)
}

/// Returns the record counts of the answer, authority and additional sections; `None` if the message is too short.
pub(super) fn counts(message: &[u8]) -> Option<[usize; 3]> {
    let count = |at| u16_at(message, at).map(usize::from);
    Some([count(6)?, count(8)?, count(10)?])
}
