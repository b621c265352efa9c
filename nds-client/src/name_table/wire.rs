//! Reading a `NameTable` message where it lies.
//!
//! The message (istio `pkg/dns/proto/nds.proto`): `map<string, NameInfo> table = 1`, and in `NameInfo`
//! `repeated string ips = 1; string registry = 2; string shortname = 3; string namespace = 4;
//! repeated string alt_hosts = 5`. Only length-delimited fields are of interest; others are skipped.

/// The bytes of a pushed name table are not a `NameTable` message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a NameTable message: {reason}")]
pub struct InvalidNameTable {
    reason: &'static str,
}

impl InvalidNameTable {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// A field's number and its bytes.
pub(super) type Field<'a> = Result<(u64, &'a [u8]), InvalidNameTable>;

/// The name and the `NameInfo` of an entry.
pub(super) fn entry(wire: &[u8]) -> Result<(&[u8], &[u8]), InvalidNameTable> {
    let (mut name, mut info): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields(wire) {
        match field? {
            (1, value) => name = value,
            (2, value) => info = value,
            _ => {}
        }
    }
    Ok((name, info))
}

/// The length-delimited fields of one message; ends after the first error.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // A text of fewer than 128 bytes, as nearly all are.
        if let [tag @ ..0x80, length @ ..0x80, rest @ ..] = self.0
            && tag & 7 == 2
            && let Some((value, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.0 = rest;
            return Some(Ok((u64::from(tag >> 3), value)));
        }
        self.next_of_any_form()
    }
}

impl<'a> Fields<'a> {
    fn next_of_any_form(&mut self) -> Option<Field<'a>> {
        while !self.0.is_empty() {
            match self.field() {
                Ok(None) => {}
                Ok(Some(field)) => return Some(Ok(field)),
                Err(error) => {
                    self.0 = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// One field; `None` for one that is not length-delimited.
    fn field(&mut self) -> Result<Option<(u64, &'a [u8])>, InvalidNameTable> {
        let tag = self.varint()?;
        let length = match tag & 7 {
            0 => {
                self.varint()?;
                return Ok(None);
            }
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            _ => return Err(InvalidNameTable::new("an unknown wire type")),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let too_long = InvalidNameTable::new("a field longer than its message");
        let (value, rest) = self.0.split_at_checked(length).ok_or(too_long)?;
        self.0 = rest;
        Ok((tag & 7 == 2).then_some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, InvalidNameTable> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(InvalidNameTable::new("a message cut short"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(InvalidNameTable::new("a number of more than ten bytes"))
    }
}
