//! Runs subjects alternately.

use std::hint::black_box;

use crate::{Failure, process::thread_time, samples::Samples};

/// A subject of a measurement: one short run that returns its figure.
pub(crate) type Subject<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// A subject that may fail: one short run that returns its figures.
pub(crate) type Trial<'a, const K: usize> = Box<dyn FnMut() -> Result<[f64; K], Failure> + 'a>;

/// Runs every subject once per round, in a rotating order, after one warm-up round.
pub(crate) fn interleaved<const N: usize>(rounds: usize, subjects: [Subject<'_>; N]) -> [Samples; N] {
    let mut figures = interleaved_all(rounds, subjects.into()).into_iter();
    [(); N].map(|()| figures.next().unwrap_or_else(|| Samples::from_iter([])))
}

/// Runs any number of subjects as [`interleaved`] does.
pub(crate) fn interleaved_all(rounds: usize, subjects: Vec<Subject<'_>>) -> Vec<Samples> {
    turns(rounds, subjects).into_iter().map(Samples::from_iter).collect()
}

/// Runs subjects that may fail as [`interleaved`] does. The first failure ends the measurement.
pub(crate) fn tried<const N: usize, const K: usize>(
    rounds: usize,
    trials: [Trial<'_, K>; N],
) -> Result<[[Samples; K]; N], Failure> {
    let mut all = [(); N].map(|()| [(); K].map(|()| Vec::new()));
    for (trial, runs) in turns(rounds, trials.into()).into_iter().enumerate() {
        for run in runs {
            for (figures, figure) in all[trial].iter_mut().zip(run?) {
                figures.push(figure);
            }
        }
    }
    Ok(all.map(|figures| figures.map(Samples::from_iter)))
}

/// Returns the results of each subject, in the order of the rounds.
fn turns<F>(rounds: usize, mut subjects: Vec<Box<dyn FnMut() -> F + '_>>) -> Vec<Vec<F>> {
    let count = subjects.len();
    let mut all: Vec<_> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let figure = subjects[at]();
            if round > 0 {
                all[at].push(figure);
            }
        }
    }
    all
}

/// Returns the CPU time of this thread per call in nanoseconds, as the mean of `calls` calls. Time of other threads is
/// not included.
pub(crate) fn nanoseconds<T>(calls: u32, mut call: impl FnMut() -> T) -> f64 {
    let start = thread_time();
    for _ in 0..calls {
        black_box(call());
    }
    (thread_time() - start) / f64::from(calls)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn subjects_alternate_and_the_first_round_is_ignored() {
        let order = RefCell::new(String::new());
        let subject = |name: char, figure: f64| -> Subject<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                figure
            })
        };
        let [a, b] = interleaved(2, [subject('a', 1.0), subject('b', 2.0)]);
        assert_eq!(*order.borrow(), "abbaab");
        assert!((a.median() - 1.0).abs() < 1e-9 && (b.median() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn figures_of_trials_are_separate_and_a_failure_is_returned() {
        let trial = |figure: f64| -> Trial<'_, 2> { Box::new(move || Ok([figure, figure * 2.0])) };
        let [[a, twice_a], [_, twice_b]] = tried(3, [trial(1.0), trial(2.0)]).unwrap();
        let medians = [a, twice_a, twice_b].map(|samples| samples.median());
        assert!(medians.iter().zip([1.0, 2.0, 4.0]).all(|(one, other)| (one - other).abs() < 1e-9));
        let broken: Trial<'_, 1> = Box::new(|| Err("broken".into()));
        assert_eq!(tried(1, [broken]).unwrap_err().to_string(), "broken");
    }
}
