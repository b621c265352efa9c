//! DNS messages, read where they lie: RFC 1035 §4.1.

#![cfg_attr(not(feature = "listener"), allow(dead_code, reason = "some of it is for the listener alone"))]

use std::ops::Range;

pub(crate) const HEADER: usize = 12;

/// Record types and classes that are looked at.
pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const IXFR: u16 = 251;
pub(crate) const AXFR: u16 = 252;
pub(crate) const ANY: u16 = 255;
pub(crate) const IN: u16 = 1;

/// One record of a message.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) owner_is_root: bool,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Where its TTL and its data lie.
    pub(crate) ttl_at: usize,
    pub(crate) data: Range<usize>,
}

impl Record {
    /// The record at `at`; `None` where there is none.
    pub(crate) fn read(packet: &[u8], at: usize) -> Option<Self> {
        let fixed = skip_name(packet, at)?;
        let (ttl_at, data) = (fixed + 4, fixed + 10);
        let data = data..data + usize::from(u16_at(packet, fixed + 8)?);
        packet.get(..data.end)?;
        Some(Self {
            owner_is_root: packet[at] == 0,
            kind: u16_at(packet, fixed)?,
            class: u16_at(packet, fixed + 2)?,
            ttl: u32_at(packet, ttl_at)?,
            ttl_at,
            data,
        })
    }
}

/// How many records each section has: answers, authorities, additional ones.
pub(crate) fn counts(packet: &[u8]) -> Option<[usize; 3]> {
    let count = |at| u16_at(packet, at).map(usize::from);
    Some([count(6)?, count(8)?, count(10)?])
}

/// Where the name at `at` ends. Pointers are not followed: what they point at does not matter here.
pub(crate) fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*packet.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Two bytes, most significant first.
pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Four bytes, most significant first.
pub(crate) fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(packet, at)?) << 16 | u32::from(u16_at(packet, at + 2)?))
}
