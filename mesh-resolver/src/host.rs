//! What a caller may ask for: an address, or a host name.

use std::net::IpAddr;

use crate::{Error, ErrorKind, name::MAX_NAME};

/// A host as a caller writes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// # Errors
    ///
    /// `InvalidName` for what no DNS could have an address for: empty, too long, an empty label or one over 63
    /// bytes (RFC 1035 §2.3.4), or a character that is in no host name (letters, digits, `-`, `_`).
    pub(crate) fn parse(text: &'a str) -> Result<Self, Error> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Ok(Self::Address(address));
        }
        match problem(text.strip_suffix('.').unwrap_or(text)) {
            None => Ok(Self::Name(text)),
            Some(problem) => {
                Err(Error::new(ErrorKind::InvalidName, text, format!("not a host name: {problem}")))
            }
        }
    }
}

fn problem(name: &str) -> Option<&'static str> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() {
        Some("it is empty")
    } else if !name.is_ascii() {
        Some("write an internationalised name in its ASCII form (xn--…)")
    } else if !name.bytes().all(usual) {
        Some("only letters, digits, '-', '_' and '.' are allowed")
    } else if name.len() > MAX_NAME {
        Some("it is longer than 253 bytes")
    } else if name.split('.').any(str::is_empty) {
        Some("it has an empty label")
    } else if name.split('.').any(|label| label.len() > 63) {
        Some("it has a label longer than 63 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        assert_eq!(Host::parse("192.0.2.1").unwrap(), Host::Address("192.0.2.1".parse().unwrap()));
        assert_eq!(Host::parse("::1").unwrap(), Host::Address("::1".parse().unwrap()));
        assert_eq!(Host::parse("[2001:db8::1]").unwrap(), Host::Address("2001:db8::1".parse().unwrap()));
        assert_eq!(Host::parse("forecast.weather.").unwrap(), Host::Name("forecast.weather."));
        assert_eq!(Host::parse("_srv.my-host.example").unwrap(), Host::Name("_srv.my-host.example"));
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_the_reason() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = "a.".repeat(127) + "ab";
        for (text, reason) in [
            ("", "empty"),
            (".", "empty"),
            ("a..b", "empty label"),
            ("a b", "only letters"),
            ("http://a", "only letters"),
            ("a\0b", "only letters"),
            ("fe80::1%eth0", "only letters"),
            ("bücher.example", "xn--"),
            (&*long_label, "63"),
            (&*long_name, "253"),
        ] {
            let error = Host::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
