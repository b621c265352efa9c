//! Responses that are written over the query. The header and the question stay in place.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    EDNS_UDP_SIZE,
    header::{AA, CD, Code, HEADER, OPCODE, QR, RA, RD, TC},
    query::{Edns, Query, QueryError},
    record::{A, AAAA, CNAME, IN, OPT},
};

/// The length of an OPT record without options.
const OPT_LEN: usize = 11;

/// Writes the response to a packet that is not a valid query. Returns its length, or `None` if the packet gets no
/// response.
pub(crate) fn query_error(packet: &mut [u8], error: QueryError) -> Option<usize> {
    let mut writer = Writer::over(packet, HEADER);
    match error {
        QueryError::NotAQuery => return None,
        QueryError::Malformed => writer.header(Code::FormErr, 0, 0),
        QueryError::NotImplemented => writer.header(Code::NotImp, 0, 0),
        QueryError::BadVersion => {
            writer.opt(Edns { size: 0, dnssec_ok: false }, Code::BadVers);
            writer.header(Code::BadVers, 0, 1);
        }
    }
    Some(writer.at)
}

/// Writes a response without answers and returns its length.
pub(crate) fn empty(packet: &mut [u8], query: &Query, code: Code) -> usize {
    let mut writer = Writer::over(packet, query.question_end);
    let additional = writer.end(query, code);
    writer.header(code, 0, additional);
    writer.question();
    writer.at
}

/// Writes a truncated response, so that the client retries over TCP.
pub(crate) fn truncated(packet: &mut [u8], query: &Query) -> usize {
    let len = empty(packet, query, Code::NoError);
    packet[2] |= TC;
    len
}

/// The contents of the address records in a response.
pub(crate) struct Addresses<'a> {
    /// The target of the CNAME record that precedes the address records, which is their owner name; `None` without a
    /// CNAME record.
    pub(crate) alias: Option<&'a str>,
    pub(crate) ipv4: &'a [Ipv4Addr],
    pub(crate) ipv6: &'a [Ipv6Addr],
    /// The TTL in seconds.
    pub(crate) ttl: u32,
}

/// Writes the addresses of the requested family and returns the length of the response. Records that exceed `limit`
/// are left out. `packet` must have space for `limit` bytes.
pub(crate) fn addresses(packet: &mut [u8], query: &Query, found: &Addresses<'_>, limit: usize) -> usize {
    let mut writer = Writer::over(packet, query.question_end);
    writer.ttl = found.ttl;
    // The OPT record is never left out.
    writer.limit = limit - if query.edns.is_some() { OPT_LEN } else { 0 };
    let all = match query.kind {
        AAAA => found.ipv6.len(),
        _ => found.ipv4.len(),
    };
    let mut written = 0;
    // A known name without addresses of the requested family is NODATA, without a CNAME record
    // (`pkg/dns/client/dns.go:312-321,592-620`).
    if all > 0
        && let Some(owner) = writer.alias(found.alias)
    {
        written = match query.kind {
            AAAA => writer.records(owner, AAAA, found.ipv6, Ipv6Addr::octets),
            _ => writer.records(owner, A, found.ipv4, Ipv4Addr::octets),
        };
        writer.answers += u16::from(found.alias.is_some());
    }
    let answers = writer.answers;
    let additional = writer.end(query, Code::NoError);
    writer.header(Code::NoError, answers, additional);
    writer.question();
    writer.packet[2] |= AA;
    if written < all {
        writer.packet[2] |= TC;
    }
    writer.at
}

/// The compression pointer to the name of the question.
const QUESTION: u16 = POINTER | 12;
const POINTER: u16 = 0xc000;

struct Writer<'p> {
    packet: &'p mut [u8],
    at: usize,
    limit: usize,
    answers: u16,
    ttl: u32,
}

impl<'p> Writer<'p> {
    fn over(packet: &'p mut [u8], at: usize) -> Self {
        let limit = packet.len();
        Self { packet, at, limit, answers: 0, ttl: 0 }
    }

    /// Turns the header of the query into the header of its response, with a question count of zero (RFC 1035
    /// §4.1.1). The ID, the opcode, RD and CD are preserved (RFC 4035 §3.2.2).
    fn header(&mut self, code: Code, answers: u16, additional: u16) {
        let header = &mut self.packet[..HEADER];
        header[2] = QR | header[2] & (OPCODE | RD);
        header[3] = RA | header[3] & CD | code.bits().0;
        header[4..6].fill(0);
        header[6..8].copy_from_slice(&answers.to_be_bytes());
        header[8..10].fill(0);
        header[10..12].copy_from_slice(&additional.to_be_bytes());
    }

    /// Sets the question count in the header to one.
    fn question(&mut self) {
        self.packet[5] = 1;
    }

    /// Writes the OPT record of the response if the query has one (RFC 6891 §6.1.1). Returns the number of written
    /// records, 0 or 1.
    fn end(&mut self, query: &Query, code: Code) -> u16 {
        match query.edns {
            Some(edns) => {
                self.opt(edns, code);
                1
            }
            None => 0,
        }
    }

    fn opt(&mut self, edns: Edns, code: Code) {
        self.limit = self.packet.len();
        let [size_0, size_1] = EDNS_UDP_SIZE.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        let (_, high) = code.bits();
        let [_, opt] = OPT.to_be_bytes();
        self.put(&[0, 0, opt, size_0, size_1, high, 0, dnssec_ok, 0, 0, 0]);
    }

    /// Writes the CNAME record of a name that matched through the search domain, if `target` is set. Returns the
    /// pointer to the owner name of the address records, or `None` if the CNAME record does not fit.
    fn alias(&mut self, target: Option<&str>) -> Option<u16> {
        let Some(target) = target else { return Some(QUESTION) };
        // The target has a length byte before each label, and the root label.
        let len = target.len() + 2;
        if self.at + FIXED + len > self.limit {
            return None;
        }
        self.fixed(QUESTION, CNAME, u16::try_from(len).ok()?);
        let owner = POINTER | u16::try_from(self.at).ok()?;
        for label in target.split('.') {
            self.put(&[u8::try_from(label.len()).ok()?]);
            self.put(label.as_bytes());
        }
        self.put(&[0]);
        Some(owner)
    }

    /// Writes as many address records as fit, in random order (`pkg/dns/client/dns.go:325-327,352-412`). Returns
    /// their number.
    fn records<I: Copy, const LEN: usize>(
        &mut self,
        owner: u16,
        kind: u16,
        ips: &[I],
        octets: fn(&I) -> [u8; LEN],
    ) -> usize {
        let room = (self.limit - self.at) / (FIXED + LEN);
        let count = ips.len().min(room);
        let first = self.at;
        // If not all records fit, a random start gives each address an equal chance.
        let start = if ips.len() > 1 { fastrand::usize(..ips.len()) } else { 0 };
        for ip in ips[start..].iter().chain(&ips[..start]).take(count) {
            self.fixed(owner, kind, u16::try_from(LEN).unwrap_or_default());
            self.put(&octets(ip));
        }
        if count > 1 {
            shuffle::<LEN>(&mut self.packet[first..self.at]);
        }
        self.answers += u16::try_from(count).unwrap_or(u16::MAX);
        count
    }

    /// Writes the fields of a record that precede its data.
    fn fixed(&mut self, owner: u16, kind: u16, len: u16) {
        let ttl = self.ttl.to_be_bytes();
        let ([o0, o1], [k0, k1], [c0, c1]) = (owner.to_be_bytes(), kind.to_be_bytes(), IN.to_be_bytes());
        let [l0, l1] = len.to_be_bytes();
        self.put(&[o0, o1, k0, k1, c0, c1, ttl[0], ttl[1], ttl[2], ttl[3], l0, l1]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.packet[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

/// The length of a record without its data, if its owner name is a compression pointer.
const FIXED: usize = 12;

/// Shuffles the data of records that differ only in their data.
fn shuffle<const LEN: usize>(records: &mut [u8]) {
    let count = records.len() / (FIXED + LEN);
    for last in (1..count).rev() {
        let other = fastrand::usize(..=last);
        if other != last {
            let (head, tail) = records.split_at_mut(last * (FIXED + LEN));
            let at = other * (FIXED + LEN);
            head[at + FIXED..at + FIXED + LEN].swap_with_slice(&mut tail[FIXED..FIXED + LEN]);
        }
    }
}
