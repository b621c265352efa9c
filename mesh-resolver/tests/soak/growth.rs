//! Decides whether memory use grows.

/// Returns the medians of the second and the last quarter of the samples if the latter is more than a fifth larger. A
/// leak of a few bytes per query grows that much within a minute of several hundred thousand queries. The first
/// quarter is the warm-up. The median ignores a sample during which the allocator returned memory to the system.
pub(super) fn grown(samples: &[usize]) -> Option<(usize, usize)> {
    let quarter = samples.len() / 4;
    let early = median(samples.get(quarter..2 * quarter)?)?;
    let late = median(samples.get(3 * quarter..)?)?;
    (late > early + early / 5).then_some((early, late))
}

fn median(samples: &[usize]) -> Option<usize> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

const MEGABYTE: usize = 1 << 20;

/// Returns the samples of one minute.
fn minute(at: impl Fn(usize) -> usize) -> Vec<usize> {
    (0..60).map(at).collect()
}

#[test]
fn a_constant_leak_is_detected() {
    for a_second in [MEGABYTE / 4, MEGABYTE, 16 * MEGABYTE] {
        let leak = minute(|second| 30 * MEGABYTE + second * a_second + second % 3 * MEGABYTE);
        assert!(grown(&leak).is_some(), "{a_second} bytes a second");
    }
    let doubled = minute(|second| (30 * MEGABYTE) << (second / 20));
    assert!(grown(&doubled).is_some());
}

#[test]
fn fluctuation_and_warm_up_are_not_a_leak() {
    assert_eq!(grown(&minute(|_| 30 * MEGABYTE)), None);
    assert_eq!(grown(&minute(|second| (30 + second % 7 * 5) * MEGABYTE)), None, "a table is replaced");
    assert_eq!(grown(&minute(|second| (10 + 2 * second.min(12)) * MEGABYTE)), None, "caches fill");
    assert_eq!(grown(&minute(|second| (60 - second / 2) * MEGABYTE)), None);
    let dip = minute(|second| if second == 22 { 12 * MEGABYTE } else { 17 * MEGABYTE });
    assert_eq!(grown(&dip), None, "the allocator returned memory once");
}

/// A real leak is visible in the measured memory of the process.
#[test]
fn a_real_leak_is_detected() {
    let mut leak = Vec::new();
    let samples: Vec<_> = (0..40)
        .map(|number: u8| {
            leak.push(vec![number | 1; 4 * MEGABYTE]);
            super::resident()
        })
        .collect();
    assert!(grown(&samples).is_some(), "{samples:?}");
    assert_eq!(leak.len(), 40);
}
