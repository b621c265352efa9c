//! Durations as people write and read them.

use std::{fmt, time::Duration};

/// A duration for people: two digits are enough.
pub(crate) struct Rough(pub(crate) Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86400),
        }
    }
}

/// A duration as Go writes it, in whole units: `24h`, `30m`, `90s`, `1h30m`.
pub(crate) fn parse_go(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let seconds = match &unit[..length] {
            "h" => 60 * 60,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(seconds).checked_mul(number)?)?;
        rest = &unit[length..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let seconds = |text| parse_go(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("90s"), Some(90));
        for text in ["24", "h", "1d", "-1h", "99999999999h", "1.5h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_told_in_the_unit_that_fits() {
        let told = [90, 600, 7300, 200_000].map(|seconds| Rough(Duration::from_secs(seconds)).to_string());
        assert_eq!(told, ["90 s", "10 min", "2 h", "2 days"]);
    }
}
