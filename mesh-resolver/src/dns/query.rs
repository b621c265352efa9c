//! One query, read in place: RFC 1035 §4.1 and, for the OPT record, RFC 6891 §6.1.

use super::{
    PLAIN_UDP_SIZE,
    header::{HEADER, OPCODE, QR, counts},
    name,
    record::{A, AAAA, AXFR, IN, IXFR, OPT, Record, u16_at},
};
use crate::name::MAX_NAME;

/// A query with one question.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    name: [u8; MAX_NAME],
    name_len: usize,
    pub(super) question_end: usize,
    pub(crate) kind: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
}

/// The asker's OPT record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edns {
    /// The largest UDP answer it takes.
    pub(super) size: u16,
    /// Whether it wants DNSSEC records; repeated in the answer (RFC 3225 §3).
    pub(super) dnssec_ok: bool,
}

/// Why a packet is no query that can be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unfit {
    /// A later version of EDNS than 0: BADVERS (RFC 6891 §6.1.3).
    BadVersion,
    /// It cannot be read, or does not have exactly one question (RFC 9619 §4): FORMERR.
    Malformed,
    /// Too short for a header, or an answer: nobody waits for an answer to it.
    NotAQuery,
    /// Another operation than a query: NOTIMP.
    NotImplemented,
}

impl Query {
    /// # Errors
    ///
    /// Why it cannot be answered.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Unfit> {
        let header = packet.get(..HEADER).ok_or(Unfit::NotAQuery)?;
        if header[2] & QR != 0 {
            return Err(Unfit::NotAQuery);
        }
        if header[2] & OPCODE != 0 {
            return Err(Unfit::NotImplemented);
        }
        if u16_at(packet, 4) != Some(1) {
            return Err(Unfit::Malformed);
        }
        let mut query = Self::question(packet).ok_or(Unfit::Malformed)?;
        // The usual query ends here, or with an OPT record.
        if header[6..] != [0; 6] {
            query.edns = edns(packet, query.question_end)?;
        }
        Ok(query)
    }

    /// The first question of a message, whatever else it is.
    pub(crate) fn question(packet: &[u8]) -> Option<Self> {
        let mut name = [0; MAX_NAME];
        let (name_len, at) = name::read(packet, HEADER, &mut name)?;
        let (kind, class) = (u16_at(packet, at)?, u16_at(packet, at + 2)?);
        Some(Self { name, name_len, question_end: at + 4, kind, class, edns: None })
    }

    /// The name in the form of tables: lower-case, without the trailing dot.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(&self.name[..self.name_len]).unwrap_or_default()
    }

    /// Whether the mesh can have an answer to it (`pkg/dns/client/dns.go:587-590`: all other types go upstream).
    pub(crate) fn is_for_addresses(&self) -> bool {
        self.class == IN && matches!(self.kind, A | AAAA)
    }

    /// Whether it asks for all of a zone (RFC 5936, RFC 1995): a conversation, which is not passed on.
    pub(crate) fn is_for_a_zone(&self) -> bool {
        matches!(self.kind, IXFR | AXFR)
    }

    /// The longest answer over UDP (RFC 6891 §6.2.3: less than 512 means 512).
    pub(crate) fn udp_size(&self) -> u16 {
        self.edns.map_or(PLAIN_UDP_SIZE, |edns| edns.size.max(PLAIN_UDP_SIZE))
    }
}

/// The OPT record among the records behind the question.
fn edns(packet: &[u8], mut at: usize) -> Result<Option<Edns>, Unfit> {
    let [answers, authorities, additional] = counts(packet).ok_or(Unfit::Malformed)?;
    let before = answers + authorities;
    let mut found = None;
    for number in 0..before + additional {
        let record = Record::read(packet, at).ok_or(Unfit::Malformed)?;
        at = record.data.end;
        if record.kind != OPT {
            continue;
        }
        // One only, among the additional records, and its owner is the root (RFC 6891 §6.1.1, §6.1.2).
        if found.is_some() || number < before || !record.owner_is_root {
            return Err(Unfit::Malformed);
        }
        found = Some(record);
    }
    match found {
        Some(record) if record.ttl >> 16 & 0xff != 0 => Err(Unfit::BadVersion),
        Some(record) => Ok(Some(Edns { size: record.class, dnssec_ok: record.ttl & 0x8000 != 0 })),
        None => Ok(None),
    }
}
