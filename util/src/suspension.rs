//! The time that this host has spent suspended.

use std::time::Duration;

/// Returns the time since the host was started that it spent suspended; zero where the system does not report it.
///
/// On Linux, [`std::time::Instant`] is `CLOCK_MONOTONIC`, which stands still while the host is suspended.
/// `CLOCK_BOOTTIME` does not. A lifetime that another host has set, such as a TTL, goes on during a suspension, so code
/// that measures one adds this time to an `Instant`.
#[must_use]
pub fn suspended() -> Duration {
    #[cfg(target_os = "linux")]
    {
        use rustix::time::{ClockId, Timespec, clock_gettime};
        let since_start = |clock| {
            let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
            Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
        };
        // In this order, a pause between the two calls cannot make the difference larger.
        let (boottime, monotonic) = (since_start(ClockId::Boottime), since_start(ClockId::Monotonic));
        boottime.saturating_sub(monotonic)
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_suspension_does_not_grow_while_the_host_is_awake() {
        let before = suspended();
        let after = suspended();
        // The two clocks are read one after the other, so each result is too small by the time in between.
        assert!(after.abs_diff(before) < Duration::from_secs(10), "{before:?} {after:?}");
    }
}
