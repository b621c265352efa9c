//! Whether memory stays what it is.

/// The medians of the second and of the last quarter of the samples, if the last is more than a fifth larger. A leak of a
/// few bytes per query grows that much in a minute of some hundred thousand queries. The first quarter is for warming up.
/// The median ignores a single sample during which the allocator had returned memory to the system.
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

/// A minute of samples.
fn minute(at: impl Fn(usize) -> usize) -> Vec<usize> {
    (0..60).map(at).collect()
}

#[test]
fn what_grows_for_ever_has_grown() {
    for a_second in [MEGABYTE / 4, MEGABYTE, 16 * MEGABYTE] {
        let leak = minute(|second| 30 * MEGABYTE + second * a_second + second % 3 * MEGABYTE);
        assert!(grown(&leak).is_some(), "{a_second} bytes a second");
    }
    let doubled = minute(|second| (30 * MEGABYTE) << (second / 20));
    assert!(grown(&doubled).is_some());
}

#[test]
fn what_goes_up_and_down_or_warms_up_has_not() {
    assert_eq!(grown(&minute(|_| 30 * MEGABYTE)), None);
    assert_eq!(grown(&minute(|second| (30 + second % 7 * 5) * MEGABYTE)), None, "a table is replaced");
    assert_eq!(grown(&minute(|second| (10 + 2 * second.min(12)) * MEGABYTE)), None, "caches fill");
    assert_eq!(grown(&minute(|second| (60 - second / 2) * MEGABYTE)), None);
    let dip = minute(|second| if second == 22 { 12 * MEGABYTE } else { 17 * MEGABYTE });
    assert_eq!(grown(&dip), None, "the allocator returned memory once");
}

/// The judge sees a real leak by what the process really uses.
#[test]
fn a_deliberate_leak_is_seen_in_what_this_process_uses() {
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
