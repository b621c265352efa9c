//! A buffer for host names on the stack.

/// The maximum length of a host name in text form, without the trailing dot (RFC 1035 §2.3.4: 255 bytes in wire
/// format).
pub(crate) use sidestep_util::host_name::MAX_LENGTH as MAX_NAME;

/// A buffer for one host name.
pub(crate) struct NameBuffer {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl NameBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; MAX_NAME], len: 0 }
    }

    /// Joins the parts with dots. Returns `None` if the result is longer than a host name.
    pub(crate) fn join(&mut self, parts: &[&str]) -> Option<&str> {
        self.len = 0;
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.push(b".")?;
            }
            self.push(part.as_bytes())?;
        }
        self.text()
    }

    /// Converts a name to the form of name table keys: lower case, without a trailing dot. Returns `None` for an
    /// empty or too long name.
    pub(crate) fn fold<'a>(&'a mut self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        // The loop has no early exit, so that the compiler vectorises it.
        if !name.bytes().fold(false, |upper, byte| upper | byte.is_ascii_uppercase()) {
            return Some(name);
        }
        self.len = 0;
        self.push(name.as_bytes())?;
        self.bytes[..self.len].make_ascii_lowercase();
        self.text()
    }

    /// Replaces the byte at `star` by `*` and returns the name from that byte on. If `star` is the last byte of a
    /// label, the result is the wildcard that matches the label. The buffer must contain the name.
    pub(crate) fn wildcard(&mut self, star: usize) -> Option<&str> {
        *self.bytes.get_mut(star)? = b'*';
        std::str::from_utf8(self.bytes.get(star..self.len)?).ok()
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len.checked_add(part.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_converts_to_lower_case_and_removes_one_trailing_dot() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.fold("Forecast.Weather."), Some("forecast.weather"));
        assert_eq!(buffer.fold("forecast"), Some("forecast"));
        assert_eq!(
            buffer.fold("a.."),
            Some("a."),
            "the second dot ends an empty label, which no table key has"
        );
        assert_eq!(buffer.fold("."), None);
        assert_eq!(buffer.fold(""), None);
    }

    #[test]
    fn a_name_may_be_253_bytes_long_and_no_longer() {
        let mut buffer = NameBuffer::new();
        let longest = "A".repeat(MAX_NAME);
        assert!(buffer.fold(&longest).is_some());
        assert!(buffer.fold(&format!("{longest}.")).is_some());
        assert!(buffer.fold(&format!("{longest}a")).is_none());
        assert!(buffer.join(&[&longest[2..], "b"]).is_some());
        assert!(buffer.join(&[&longest[1..], "b"]).is_none());
    }

    #[test]
    fn a_wildcard_replaces_the_labels_before_it() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.join(&["foo.bar", "example"]), Some("foo.bar.example"));
        assert_eq!(buffer.wildcard(2), Some("*.bar.example"));
        assert_eq!(buffer.wildcard(6), Some("*.example"));
    }
}
