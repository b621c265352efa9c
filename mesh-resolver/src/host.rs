//! The text that a caller looks up: an address literal or a host name.

use std::{borrow::Cow, net::IpAddr};

use hickory_resolver::proto::rr::Name;
use sidestep_util::host_name;

use crate::error::{ErrorKind, LookupError};

/// Parses an address literal; returns `None` for any other text. An IPv6 address may be in brackets, as in a URL.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    // Most hosts are names. This cheap check avoids parsing them.
    if !text.ends_with(|last: char| last.is_ascii_digit()) && !text.contains(':') {
        return None;
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

/// Converts an internationalised name to ASCII (UTS 46, RFC 5891), like `getaddrinfo` with `AI_IDN`. A text that
/// cannot be converted is returned unchanged.
pub(crate) fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    match Name::from_utf8(text) {
        Ok(name) => Cow::Owned(name.to_ascii()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// Checks that a text is a host name.
///
/// # Errors
///
/// `InvalidName`: no DNS server can have an address for the text.
pub(crate) fn check_name(text: &str) -> Result<(), LookupError> {
    host_name::validate(text).map_err(|problem| {
        LookupError::new(ErrorKind::InvalidName, format!("this is not a host name: {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_literals_are_distinguished_from_names() {
        for (text, expected) in
            [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("[2001:db8::a]", "2001:db8::a"), ("::", "::")]
        {
            assert_eq!(address(text), Some(expected.parse().unwrap()));
        }
        for text in ["forecast.weather.", "_srv.my-host.example", "node1", "1.2.3", "[192.0.2.1", ""] {
            assert_eq!(address(text), None, "{text}");
        }
        assert!(check_name("forecast.weather.").is_ok());
        assert!(check_name("_srv.my-host.example").is_ok());
    }

    #[test]
    fn an_internationalised_name_has_an_ascii_form() {
        for (text, expected) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example."),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("forecast.weather", "forecast.weather"),
        ] {
            assert_eq!(ascii(text), expected);
        }
    }

    #[test]
    fn an_invalid_host_name_is_rejected_with_the_reason() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = "a.".repeat(127) + "ab";
        for (text, reason) in [
            ("", "empty"),
            (".", "empty"),
            ("a..b", "empty label"),
            ("a b", "other than letters"),
            ("http://a", "other than letters"),
            ("a\0b", "other than letters"),
            ("fe80::1%eth0", "other than letters"),
            ("b\u{fffd}cher.example", "xn--"),
            (&*long_label, "63"),
            (&*long_name, "253"),
        ] {
            let error = check_name(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidName);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
