//! Reading a `NameTable` message where it lies.
//!
//! The message (istio `pkg/dns/proto/nds.proto`): `map<string, NameInfo> table = 1`, and in `NameInfo`
//! `repeated string ips = 1; string registry = 2; string shortname = 3; string namespace = 4;
//! repeated string alt_hosts = 5`. Only length-delimited fields are of interest; others are skipped.

use std::{net::IpAddr, ops::Range, str};

/// The bytes of a pushed name table are not a `NameTable` message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a NameTable message: {reason} at byte {at}")]
pub struct InvalidNameTable {
    reason: &'static str,
    at: usize,
}

/// A stretch of the wire bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn new(range: Range<usize>) -> Result<Self, InvalidNameTable> {
        Ok(Self { start: offset(range.start)?, len: offset(range.end - range.start)? })
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    pub(super) fn bytes(self, wire: &[u8]) -> &[u8] {
        &wire[self.range()]
    }

    pub(super) fn text(self, wire: &[u8]) -> Result<&str, InvalidNameTable> {
        let at = self.start as usize;
        str::from_utf8(self.bytes(wire))
            .map_err(|_| InvalidNameTable { reason: "a text that is not UTF-8", at })
    }

    pub(super) fn without_trailing_dot(self, wire: &[u8]) -> Self {
        let dot = u32::from(self.bytes(wire).ends_with(b"."));
        Self { start: self.start, len: self.len - dot }
    }
}

/// An index into the wire bytes or into a list that is no longer than they are.
pub(super) fn offset(at: usize) -> Result<u32, InvalidNameTable> {
    u32::try_from(at).map_err(|_| InvalidNameTable { reason: "more than 4 GiB", at })
}

/// The `(key, value)` pairs of the table, each value the span of a `NameInfo`.
pub(super) fn entries(
    wire: &[u8],
) -> Result<impl Iterator<Item = Result<(Span, Span), InvalidNameTable>> + '_, InvalidNameTable> {
    offset(wire.len())?;
    Ok(Fields { wire, range: 0..wire.len() }.filter_map(move |field| match field {
        Ok((1, span)) => Some(entry(wire, span)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

fn entry(wire: &[u8], span: Span) -> Result<(Span, Span), InvalidNameTable> {
    let (mut key, mut value) = (Span::default(), Span::default());
    for field in (Fields { wire, range: span.range() }) {
        match field? {
            (1, span) => key = span,
            (2, span) => value = span,
            _ => {}
        }
    }
    key.text(wire)?;
    Ok((key, value))
}

/// One `NameInfo`, its texts checked.
#[derive(Clone, Copy, Default)]
pub(super) struct NameInfo<'a> {
    pub(super) registry: &'a str,
    pub(super) short_name: &'a str,
    pub(super) namespace: &'a str,
    span: Span,
}

impl<'a> NameInfo<'a> {
    pub(super) fn parse(wire: &'a [u8], span: Span) -> Result<Self, InvalidNameTable> {
        let mut info = Self { span, ..Self::default() };
        for field in (Fields { wire, range: span.range() }) {
            match field? {
                (2, span) => info.registry = span.text(wire)?,
                (3, span) => info.short_name = span.text(wire)?,
                (4, span) => info.namespace = span.text(wire)?,
                (1 | 5, span) => {
                    span.text(wire)?;
                }
                _ => {}
            }
        }
        Ok(info)
    }

    /// The addresses; `None` for each text that is not one.
    pub(super) fn addresses(
        self,
        wire: &'a [u8],
    ) -> impl Iterator<Item = Result<Option<IpAddr>, InvalidNameTable>> + 'a {
        self.repeated(wire, 1).map(move |ip| Ok(ip?.text(wire)?.parse().ok()))
    }

    /// Further names of the same service. Deprecated by Istio, still sent by older control planes.
    pub(super) fn alt_hosts(
        self,
        wire: &'a [u8],
    ) -> impl Iterator<Item = Result<Span, InvalidNameTable>> + 'a {
        self.repeated(wire, 5)
    }

    fn repeated(self, wire: &'a [u8], tag: u64) -> impl Iterator<Item = Result<Span, InvalidNameTable>> + 'a {
        Fields { wire, range: self.span.range() }.filter_map(move |field| match field {
            Ok((at, span)) => (at == tag).then_some(Ok(span)),
            Err(error) => Some(Err(error)),
        })
    }
}

/// The length-delimited fields of one message; ends after the first error.
struct Fields<'a> {
    wire: &'a [u8],
    range: Range<usize>,
}

impl Iterator for Fields<'_> {
    type Item = Result<(u64, Span), InvalidNameTable>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.range.is_empty() {
            match self.field() {
                Ok(None) => {}
                Ok(Some(field)) => return Some(Ok(field)),
                Err(error) => {
                    self.range = 0..0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Fields<'_> {
    /// One field; `None` for one that is not length-delimited.
    fn field(&mut self) -> Result<Option<(u64, Span)>, InvalidNameTable> {
        let tag = self.varint()?;
        let length = match tag & 7 {
            0 => {
                self.varint()?;
                return Ok(None);
            }
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            _ => return Err(self.invalid("an unknown wire type")),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let start = self.range.start;
        let end = start.checked_add(length).filter(|end| *end <= self.range.end);
        let end = end.ok_or_else(|| self.invalid("a field longer than its message"))?;
        self.range.start = end;
        Ok(if tag & 7 == 2 { Some((tag >> 3, Span::new(start..end)?)) } else { None })
    }

    fn varint(&mut self) -> Result<u64, InvalidNameTable> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let at = self.range.next().ok_or_else(|| self.invalid("a message cut short"))?;
            let byte = self.wire[at];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.invalid("a number of more than ten bytes"))
    }

    fn invalid(&self, reason: &'static str) -> InvalidNameTable {
        InvalidNameTable { reason, at: self.range.start }
    }
}
