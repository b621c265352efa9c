//! The units of figures.

/// The unit of the figures in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// Bytes of memory.
    Bytes,
    /// A number.
    Count,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// Returns the name of the unit in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Nanoseconds => "ns",
        }
    }

    /// Formats a figure for people, with three digits.
    pub(crate) fn show(self, figure: f64) -> String {
        let scale: &[(f64, &str)] = match self {
            Self::Bytes => &[(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")],
            Self::Count => return digits(figure),
            Self::Nanoseconds => &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
        };
        let fits = scale.iter().rev().find(|(size, _)| figure.abs() >= *size);
        let (size, unit) = fits.unwrap_or(&scale[0]);
        format!("{} {unit}", digits(figure / size))
    }
}

/// Formats a number with three digits, or more if its integer part has more.
pub(crate) fn digits(figure: f64) -> String {
    let places = match figure.abs() {
        small if small < 0.01 => 5,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{figure:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_printed_in_a_suitable_unit() {
        let shown = [38.2, 2510.0, 6_400_000.0].map(|figure| Unit::Nanoseconds.show(figure));
        assert_eq!(shown, ["38.2 ns", "2.51 µs", "6.40 ms"]);
        assert_eq!(Unit::Bytes.show(0.0), "0.00000 B");
    }
}
