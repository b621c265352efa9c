//! Resource records (RFC 1035 §4.1.3).

use std::ops::Range;

use super::name;

/// The record types and classes that this crate interprets.
pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const AAAA: u16 = 28;
pub(super) const OPT: u16 = 41;
pub(super) const IXFR: u16 = 251;
pub(super) const AXFR: u16 = 252;
pub(super) const ANY: u16 = 255;
pub(super) const IN: u16 = 1;

/// One record of a message.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) owner_is_root: bool,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// The offset of the TTL.
    pub(super) ttl_at: usize,
    /// The range of the data.
    pub(super) data: Range<usize>,
}

impl Record {
    /// Reads the record at `at`. Returns `None` if it is malformed.
    pub(super) fn read(message: &[u8], at: usize) -> Option<Self> {
        let fixed = name::skip(message, at)?;
        let (ttl_at, data) = (fixed + 4, fixed + 10);
        let data = data..data + usize::from(u16_at(message, fixed + 8)?);
        message.get(..data.end)?;
        Some(Self {
            owner_is_root: message[at] == 0,
            kind: u16_at(message, fixed)?,
            class: u16_at(message, fixed + 2)?,
            ttl: u32_at(message, ttl_at)?,
            ttl_at,
            data,
        })
    }
}

/// Reads a big-endian `u16`.
pub(super) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Reads a big-endian `u32`.
pub(super) fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(message, at)?) << 16 | u32::from(u16_at(message, at + 2)?))
}
