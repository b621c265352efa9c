//! Answers, written over the query: its header and question stay where they are.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    EDNS_UDP_SIZE,
    header::{AA, CD, Code, HEADER, OPCODE, QR, RA, RD, TC},
    query::{Edns, Query, Unfit},
    record::{A, AAAA, CNAME, IN, OPT},
};

/// An OPT record without options.
const OPT_LEN: usize = 11;

/// Writes the answer to a query that cannot be read as one; `None` where there is none.
pub(crate) fn unfit(packet: &mut [u8], unfit: Unfit) -> Option<usize> {
    let mut writer = Writer::over(packet, HEADER);
    match unfit {
        Unfit::NotAQuery => return None,
        Unfit::Malformed => writer.header(Code::FormErr, 0, 0),
        Unfit::NotImplemented => writer.header(Code::NotImp, 0, 0),
        Unfit::BadVersion => {
            writer.opt(Edns { size: 0, dnssec_ok: false }, Code::BadVers);
            writer.header(Code::BadVers, 0, 1);
        }
    }
    Some(writer.at)
}

/// Writes an answer without records, and gives its length.
pub(crate) fn empty(packet: &mut [u8], query: &Query, code: Code) -> usize {
    let mut writer = Writer::over(packet, query.question_end);
    let additional = writer.end(query, code);
    writer.header(code, 0, additional);
    writer.question();
    writer.at
}

/// Writes that the answer does not fit: the asker comes back over TCP.
pub(crate) fn truncated(packet: &mut [u8], query: &Query) -> usize {
    let len = empty(packet, query, Code::NoError);
    packet[2] |= TC;
    len
}

/// The addresses of a name, to be written as records.
pub(crate) struct Addresses<'a> {
    /// The target of the CNAME record before them, which is their owner then.
    pub(crate) alias: Option<&'a str>,
    pub(crate) ipv4: &'a [Ipv4Addr],
    pub(crate) ipv6: &'a [Ipv6Addr],
    /// In seconds.
    pub(crate) ttl: u32,
}

/// Writes the addresses of the family asked for, and gives the length of the answer: at most `limit`, records that do not
/// fit left out. `packet` has room for `limit` bytes.
pub(crate) fn addresses(packet: &mut [u8], query: &Query, found: &Addresses<'_>, limit: usize) -> usize {
    let mut writer = Writer::over(packet, query.question_end);
    writer.ttl = found.ttl;
    // An OPT record is there whatever else is left out.
    writer.limit = limit - if query.edns.is_some() { OPT_LEN } else { 0 };
    let all = match query.kind {
        AAAA => found.ipv6.len(),
        _ => found.ipv4.len(),
    };
    let mut written = 0;
    // A known name without the family asked for: no data, and no CNAME record either (`pkg/dns/client/dns.go:312-321,592-620`).
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

    /// Turns the header of the query into that of its answer, without a question (RFC 1035 §4.1.1): the id, the
    /// operation and RD stay, CD too (RFC 4035 §3.2.2).
    fn header(&mut self, code: Code, answers: u16, additional: u16) {
        let header = &mut self.packet[..HEADER];
        header[2] = QR | header[2] & (OPCODE | RD);
        header[3] = RA | header[3] & CD | code.bits().0;
        header[4..6].fill(0);
        header[6..8].copy_from_slice(&answers.to_be_bytes());
        header[8..10].fill(0);
        header[10..12].copy_from_slice(&additional.to_be_bytes());
    }

    /// Says that the question is there.
    fn question(&mut self) {
        self.packet[5] = 1;
    }

    /// The OPT record of an answer to a query that has one (RFC 6891 §6.1.1); gives the number of records.
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

    /// The CNAME record that an answer by way of the search domain begins with; gives the owner of the addresses.
    /// `None` where it does not fit.
    fn alias(&mut self, target: Option<&str>) -> Option<u16> {
        let Some(target) = target else { return Some(QUESTION) };
        // Its labels, each with its length before it, and the root.
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

    /// Address records, in an order that chance decides (`pkg/dns/client/dns.go:325-327,352-412`); as many as fit. Gives their number.
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
        // Where not all fit, each has its turn.
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

    /// A record up to its data.
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

/// A record without its data, its owner a pointer.
const FIXED: usize = 12;

/// Shuffles the data of records that are equal but for it.
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
