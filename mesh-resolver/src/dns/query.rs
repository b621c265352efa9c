//! A query, parsed in place (RFC 1035 §4.1), with its OPT record (RFC 6891 §6.1).

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

/// The OPT record of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edns {
    /// The largest UDP answer that the client accepts.
    pub(super) size: u16,
    /// The DO bit, which is copied into the answer (RFC 3225 §3).
    pub(super) dnssec_ok: bool,
}

/// The reason why a packet cannot be answered as a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum QueryError {
    /// The EDNS version is not 0. The response is BADVERS (RFC 6891 §6.1.3).
    BadVersion,
    /// The packet is malformed, or does not have exactly one question (RFC 9619 §4). The response is FORMERR.
    Malformed,
    /// The packet is shorter than a header, or is a response. It gets no response.
    NotAQuery,
    /// The opcode is not QUERY. The response is NOTIMP.
    NotImplemented,
}

impl Query {
    /// Parses a packet.
    ///
    /// # Errors
    ///
    /// The reason why the packet cannot be answered.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, QueryError> {
        let header = packet.get(..HEADER).ok_or(QueryError::NotAQuery)?;
        if header[2] & QR != 0 {
            return Err(QueryError::NotAQuery);
        }
        if header[2] & OPCODE != 0 {
            return Err(QueryError::NotImplemented);
        }
        if u16_at(packet, 4) != Some(1) {
            return Err(QueryError::Malformed);
        }
        let mut query = Self::question(packet).ok_or(QueryError::Malformed)?;
        // Most queries end here or after one OPT record.
        if header[6..] != [0; 6] {
            query.edns = edns(packet, query.question_end)?;
        }
        Ok(query)
    }

    /// Reads the first question of any message; `None` if it is malformed.
    pub(crate) fn question(packet: &[u8]) -> Option<Self> {
        let mut name = [0; MAX_NAME];
        let (name_len, at) = name::read(packet, HEADER, &mut name)?;
        let (kind, class) = (u16_at(packet, at)?, u16_at(packet, at + 2)?);
        Some(Self { name, name_len, question_end: at + 4, kind, class, edns: None })
    }

    /// Returns the name as a name table key: in lower case and without the trailing dot.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(&self.name[..self.name_len]).unwrap_or_default()
    }

    /// Whether the query asks for addresses. All other types go upstream (`pkg/dns/client/dns.go:587-590`).
    pub(crate) fn is_for_addresses(&self) -> bool {
        self.class == IN && matches!(self.kind, A | AAAA)
    }

    /// Whether the query is a zone transfer (RFC 5936, RFC 1995). The listener does not forward zone transfers.
    pub(crate) fn is_for_a_zone(&self) -> bool {
        matches!(self.kind, IXFR | AXFR)
    }

    /// Returns the largest UDP answer that the client accepts. A value below 512 means 512 (RFC 6891 §6.2.3).
    pub(crate) fn udp_size(&self) -> u16 {
        self.edns.map_or(PLAIN_UDP_SIZE, |edns| edns.size.max(PLAIN_UDP_SIZE))
    }
}

/// Reads the OPT record in the records that follow the question.
fn edns(packet: &[u8], mut at: usize) -> Result<Option<Edns>, QueryError> {
    let [answers, authorities, additional] = counts(packet).ok_or(QueryError::Malformed)?;
    let before = answers + authorities;
    let mut found = None;
    for number in 0..before + additional {
        let record = Record::read(packet, at).ok_or(QueryError::Malformed)?;
        at = record.data.end;
        if record.kind != OPT {
            continue;
        }
        // At most one OPT record is allowed. It belongs to the additional section, and its owner is the root (RFC
        // 6891 §6.1.1, §6.1.2).
        if found.is_some() || number < before || !record.owner_is_root {
            return Err(QueryError::Malformed);
        }
        found = Some(record);
    }
    match found {
        Some(record) if record.ttl >> 16 & 0xff != 0 => Err(QueryError::BadVersion),
        Some(record) => Ok(Some(Edns { size: record.class, dnssec_ok: record.ttl & 0x8000 != 0 })),
        None => Ok(None),
    }
}
