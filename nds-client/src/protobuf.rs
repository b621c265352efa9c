//! Reads and writes length-delimited fields of protobuf messages without copying. Fields of other wire types are
//! skipped.

/// The bytes are not a valid protobuf message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

impl Malformed {
    pub(crate) fn reason(self) -> &'static str {
        self.0
    }
}

/// The number of a field and its bytes.
pub(crate) type Field<'a> = Result<(u64, &'a [u8]), Malformed>;

/// Writes a length-delimited field. `number` must be below 16.
pub(crate) fn put(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = value.len();
    loop {
        let [byte, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            out.push(byte);
            break;
        }
        out.push(byte | 0x80);
    }
    out.extend_from_slice(value);
}

/// Iterates over the length-delimited fields of a message. The iterator ends after the first error.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        // Fast path for fields of fewer than 128 bytes.
        if let [tag @ ..0x80, length @ ..0x80, rest @ ..] = self.0
            && tag & 7 == 2
            && let Some((value, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.0 = rest;
            return Some(Ok((u64::from(tag >> 3), value)));
        }
        self.next_slow()
    }
}

impl<'a> Fields<'a> {
    /// Returns the bytes of the next field if its number is `number` (below 16) and it has fewer than 128 bytes.
    /// Returns `None` for any other field and leaves it for the iterator. This is fast if the fields of the message
    /// have the order in which the caller reads them.
    #[inline]
    pub(crate) fn next_short(&mut self, number: u8) -> Option<&'a [u8]> {
        match self.0 {
            [tag, length @ ..0x80, rest @ ..] if *tag == number << 3 | 2 => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                self.0 = rest;
                Some(value)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn next_slow(&mut self) -> Option<Field<'a>> {
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

    /// Reads one field. Returns `None` for a field that is not length-delimited.
    fn field(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        let tag = self.varint()?;
        let length = match tag & 7 {
            0 => {
                self.varint()?;
                return Ok(None);
            }
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            _ => return Err(Malformed("unknown wire type")),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let too_long = Malformed("a field is longer than its message");
        let (value, rest) = self.0.split_at_checked(length).ok_or(too_long)?;
        self.0 = rest;
        Ok((tag & 7 == 2).then_some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed("truncated message"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint has more than ten bytes"))
    }
}
