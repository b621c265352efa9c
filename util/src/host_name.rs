//! Validation of host names (RFC 1035 §2.3.4).

/// The maximum length of a host name in bytes, without a trailing dot.
pub const MAX_LENGTH: usize = 253;

/// The maximum length of a label in bytes.
pub const MAX_LABEL_LENGTH: usize = 63;

/// The reason why a text is not a host name. The message is a clause about the name, for example "the name is empty".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHostName {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// The name contains non-ASCII characters; an internationalised name must be in its `xn--` form.
    #[error("the name contains non-ASCII characters: use its xn-- form")]
    NotAscii,
    /// The name contains a character that is not allowed in host names.
    #[error("the name contains a character other than letters, digits, '-', '_' and '.'")]
    Character,
    /// The name exceeds [`MAX_LENGTH`].
    #[error("the name is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// The name contains two consecutive dots or starts with a dot.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label exceeds [`MAX_LABEL_LENGTH`].
    #[error("the name has a label longer than {MAX_LABEL_LENGTH} bytes")]
    LabelTooLong,
}

/// Checks that `name` can be the name of address records: labels of letters, digits, `-` and `_`, and optionally one
/// trailing dot. Underscores are not valid in host names (RFC 952) but common in service names.
///
/// # Errors
///
/// [`InvalidHostName`]: the first violated rule.
pub fn validate(name: &str) -> Result<(), InvalidHostName> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() {
        Err(InvalidHostName::Empty)
    } else if !name.is_ascii() {
        Err(InvalidHostName::NotAscii)
    } else if !name.bytes().all(allowed) {
        Err(InvalidHostName::Character)
    } else if name.len() > MAX_LENGTH {
        Err(InvalidHostName::TooLong)
    } else if name.split('.').any(str::is_empty) {
        Err(InvalidHostName::EmptyLabel)
    } else if name.split('.').any(|label| label.len() > MAX_LABEL_LENGTH) {
        Err(InvalidHostName::LabelTooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_valid() {
        let longest = format!("{}a", "a.".repeat(126));
        let label = "a".repeat(63);
        for name in
            ["a", "forecast.weather.", "_srv.my-host.example", "xn--bcher-kva.example", &longest, &label]
        {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
        assert_eq!(validate(&format!("{longest}.")), Ok(()), "the trailing dot does not count");
    }

    #[test]
    fn an_invalid_name_is_an_error_with_the_reason() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = "a.".repeat(127) + "ab";
        for (name, reason) in [
            ("", InvalidHostName::Empty),
            (".", InvalidHostName::Empty),
            ("..", InvalidHostName::EmptyLabel),
            ("a..b", InvalidHostName::EmptyLabel),
            (".a", InvalidHostName::EmptyLabel),
            ("a b", InvalidHostName::Character),
            ("http://a", InvalidHostName::Character),
            ("a\0b", InvalidHostName::Character),
            ("fe80::1%eth0", InvalidHostName::Character),
            ("b\u{fffd}cher.example", InvalidHostName::NotAscii),
            (&long_label, InvalidHostName::LabelTooLong),
            (&long_name, InvalidHostName::TooLong),
        ] {
            assert_eq!(validate(name), Err(reason), "{name}");
        }
        assert_eq!(InvalidHostName::TooLong.to_string(), "the name is longer than 253 bytes");
    }
}
