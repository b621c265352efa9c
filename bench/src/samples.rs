//! The figures of several rounds.

/// The figures of one subject, in the order of the rounds.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Creates samples with a single figure, such as a count.
    pub(crate) fn once(figure: f64) -> Self {
        Self(vec![figure])
    }

    /// Returns the median.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns half of the interquartile range divided by the median.
    pub(crate) fn spread(&self) -> f64 {
        let median = self.median();
        if median == 0.0 {
            return 0.0;
        }
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0 / median
    }

    /// Returns the quantile for this share.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index into a short list"
        )]
        let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Returns the ratios of these figures to others, round by round.
    pub(crate) fn over(&self, others: &Self) -> Self {
        Self(self.0.iter().zip(&others.0).map(|(one, other)| one / other).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_affect_median_and_spread() {
        let samples: Samples = [10.0, 11.0, 9.0, 1000.0, 10.0].into_iter().collect();
        assert!((samples.median() - 10.0).abs() < 1e-9);
        assert!((samples.spread() - 0.05).abs() < 1e-9);
        assert!(Samples::once(0.0).spread().abs() < 1e-9);
    }

    #[test]
    fn a_ratio_is_computed_per_round_and_not_from_medians() {
        let (fast, slow) = (Samples(vec![1.0, 2.0, 30.0]), Samples(vec![10.0, 20.0, 300.0]));
        assert!((fast.over(&slow).median() - 0.1).abs() < 1e-9);
        assert!(fast.over(&slow).spread() < 1e-9);
    }
}
