//! Running subjects in turns.

use std::hint::black_box;

use crate::{process::thread_time, samples::Samples};

/// What is measured: one short run, and its figure.
pub(crate) type Subject<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Runs every subject once a round, each round begun by another, after one round that does not count.
pub(crate) fn interleaved<const N: usize>(rounds: usize, subjects: [Subject<'_>; N]) -> [Samples; N] {
    let mut figures = interleaved_all(rounds, subjects.into()).into_iter();
    [(); N].map(|()| figures.next().unwrap_or_else(|| Samples::from_iter([])))
}

/// The same, for subjects of which it is not known how many there are.
pub(crate) fn interleaved_all(rounds: usize, mut subjects: Vec<Subject<'_>>) -> Vec<Samples> {
    let count = subjects.len();
    let mut figures = vec![Vec::new(); count];
    for round in 0..=rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let figure = subjects[at]();
            if round > 0 {
                figures[at].push(figure);
            }
        }
    }
    figures.into_iter().map(|figures| figures.into_iter().collect()).collect()
}

/// Nanoseconds that one call takes of this thread's time, as the mean of `calls` calls: what others do on the machine in
/// between does not count.
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
    fn subjects_take_turns_and_the_first_round_does_not_count() {
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
}
