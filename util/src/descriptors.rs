//! A budget of file descriptors: a share of those that this process may still open.
//!
//! A process has one limit for all of its descriptors (`RLIMIT_NOFILE`), which the program, its files and every library
//! share. A component whose descriptors are opened on behalf of others, such as a listener, takes each one from a
//! [`Budget`], so that it cannot use up the limit of the whole process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A limit for the descriptors of one component.
///
/// The component may have at most `maximum` descriptors, and at most one `divisor`th of the descriptors that would be
/// free if the component had none. The number of free descriptors is read for each [`acquire`](Self::acquire), so that
/// a changed `RLIMIT_NOFILE` and descriptors of other components count immediately.
#[derive(Debug)]
pub struct Budget {
    divisor: usize,
    maximum: usize,
    in_use: AtomicUsize,
    free: fn() -> usize,
}

impl Budget {
    /// Creates a budget of at most `maximum` descriptors and at most one `divisor`th of the free descriptors.
    ///
    /// # Panics
    ///
    /// If `divisor` is 0.
    pub const fn new(divisor: usize, maximum: usize) -> Self {
        Self::with_free(divisor, maximum, free)
    }

    const fn with_free(divisor: usize, maximum: usize, free: fn() -> usize) -> Self {
        assert!(divisor > 0, "the divisor of a descriptor budget must be at least 1");
        Self { divisor, maximum, in_use: AtomicUsize::new(0), free }
    }

    /// Takes `count` descriptors from the budget. Dropping the returned [`Permit`] returns them to the budget. Returns
    /// `None`, and takes no descriptors, if fewer than `count` are left.
    pub fn acquire(self: &Arc<Self>, count: usize) -> Option<Permit> {
        let free = (self.free)();
        self.in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |in_use| {
                let wanted = in_use.checked_add(count)?;
                (wanted <= self.limit(free, in_use)).then_some(wanted)
            })
            .ok()
            .map(|_| Permit { budget: Arc::clone(self), count })
    }

    /// Returns the maximum number of descriptors that this component may have now, including those that it already has.
    pub fn current_limit(&self) -> usize {
        self.limit((self.free)(), self.in_use())
    }

    /// Returns the number of descriptors taken from this budget.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Acquire)
    }

    fn limit(&self, free: usize, in_use: usize) -> usize {
        (free.saturating_add(in_use) / self.divisor).min(self.maximum)
    }
}

/// Descriptors taken from a [`Budget`]. Dropping the value returns them to the budget.
#[derive(Debug)]
#[must_use = "dropping a permit returns its descriptors to the budget"]
pub struct Permit {
    budget: Arc<Budget>,
    count: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.in_use.fetch_sub(self.count, Ordering::AcqRel);
    }
}

/// Returns the number of descriptors that this process can still open under the current soft limit of `RLIMIT_NOFILE`.
///
/// Where the open descriptors cannot be counted, the answer is half of the limit.
pub fn free() -> usize {
    let limit = limit();
    match open() {
        Some(open) => limit.saturating_sub(open),
        None => limit / 2,
    }
}

/// Returns the current soft limit of `RLIMIT_NOFILE`, and [`usize::MAX`] if there is none.
#[cfg(unix)]
fn limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn limit() -> usize {
    usize::MAX
}

/// Returns the number of descriptors that this process has open, if the system reports it.
///
/// Since version 6.2, Linux gives this number as the size of `/proc/self/fd` (`proc_fd_getattr` in `fs/proc/fd.c`).
/// Before, the size is 0 and the entries are counted.
#[cfg(target_os = "linux")]
fn open() -> Option<usize> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return usize::try_from(size).ok();
    }
    // One of the entries is the descriptor of the directory itself.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

#[cfg(not(target_os = "linux"))]
fn open() -> Option<usize> {
    Some(std::fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(divisor: usize, maximum: usize, free: fn() -> usize) -> Arc<Budget> {
        Arc::new(Budget::with_free(divisor, maximum, free))
    }

    #[test]
    fn a_budget_is_a_share_of_the_free_descriptors_and_at_most_its_maximum() {
        assert_eq!(budget(4, 1000, || 100).current_limit(), 25);
        assert_eq!(budget(4, 10, || 100).current_limit(), 10);
        assert_eq!(budget(1, 10, || 0).current_limit(), 0);
    }

    #[test]
    fn descriptors_beyond_the_budget_are_refused_until_others_are_returned() {
        let budget = budget(2, 3, || 100);
        let first = budget.acquire(2).unwrap();
        assert!(budget.acquire(2).is_none());
        let second = budget.acquire(1).unwrap();
        assert!(budget.acquire(1).is_none());
        drop(first);
        assert_eq!(budget.in_use(), 1);
        assert!(budget.acquire(2).is_some());
        drop(second);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn a_count_that_overflows_is_refused() {
        let budget = budget(1, usize::MAX, || usize::MAX);
        let _one = budget.acquire(1).unwrap();
        assert!(budget.acquire(usize::MAX).is_none());
    }

    #[test]
    #[cfg(unix)]
    fn an_open_file_is_one_free_descriptor_less() {
        let open_before = open().unwrap();
        let files: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let opened = open().unwrap() - open_before;
        // Other tests of this process open and close files meanwhile.
        assert!((32..128).contains(&opened), "{opened}");
        assert!(free() <= limit() - files.len());
    }
}
