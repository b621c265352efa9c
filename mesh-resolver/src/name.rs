//! Host names on the stack: folded to lower case, joined with suffixes, never allocated.

/// The longest host name in text form, without the trailing dot (RFC 1035 §2.3.4: 255 bytes on the wire).
pub(crate) use sidestep_util::host_name::MAX_LENGTH as MAX_NAME;

/// Room for one name, and for the name with a suffix behind it as long as the two are still a name.
pub(crate) struct NameBuffer {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl NameBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; MAX_NAME], len: 0 }
    }

    /// `parts`, with a dot between each two. `None` where that is longer than a name can be.
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

    /// The name as tables have it: lower-case, without a trailing dot. `None` for what is no name: empty, too long.
    pub(crate) fn fold<'a>(&'a mut self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        // All of it, without a way out: that is done many bytes at a time.
        if !name.bytes().fold(false, |upper, byte| upper | byte.is_ascii_uppercase()) {
            return Some(name);
        }
        self.len = 0;
        self.push(name.as_bytes())?;
        self.bytes[..self.len].make_ascii_lowercase();
        self.text()
    }

    /// `*` in place of the byte at `star`, and everything behind it: with `star` at the last byte of a label, the
    /// wildcard that covers that label. `name` must be what the buffer was filled with.
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
    fn folding_lowers_the_case_and_drops_one_trailing_dot() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.fold("Forecast.Weather."), Some("forecast.weather"));
        assert_eq!(buffer.fold("forecast"), Some("forecast"));
        assert_eq!(buffer.fold("a.."), Some("a."), "the second dot is an empty label, which no table has");
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
    fn a_wildcard_takes_the_place_of_the_label_before_it() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.join(&["foo.bar", "example"]), Some("foo.bar.example"));
        assert_eq!(buffer.wildcard(2), Some("*.bar.example"));
        assert_eq!(buffer.wildcard(6), Some("*.example"));
    }
}
