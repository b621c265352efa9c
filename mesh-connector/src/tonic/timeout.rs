//! The deadline of a gRPC call.

use std::time::Duration;

use http::HeaderMap;

/// Parses the header `grpc-timeout` (gRPC over HTTP/2, *Requests*: at most eight digits and a unit). `None` if it is
/// absent or invalid.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 60 * 60),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(text: &'static str) -> Option<Duration> {
        of(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))]))
    }

    #[test]
    fn every_unit_is_parsed() {
        let (second, nanosecond) = (Duration::from_secs(1), Duration::from_nanos(1));
        for (text, time) in [
            ("2H", 7200 * second),
            ("3M", 180 * second),
            ("99999999S", 99_999_999 * second),
            ("4m", 4_000_000 * nanosecond),
            ("5u", 5000 * nanosecond),
            ("6n", 6 * nanosecond),
        ] {
            assert_eq!(read(text), Some(time), "{text}");
        }
    }

    #[test]
    fn an_invalid_timeout_is_ignored() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1 S", "123456789S"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
