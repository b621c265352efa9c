//! The time that this host spends suspended.

use std::time::{Duration, Instant};

/// Measured suspensions that are shorter than this are ignored, because the kernel reports the uptime in whole seconds.
const RESOLUTION: Duration = Duration::from_secs(2);

/// Measures the time that this host spends suspended, from the creation of the value.
///
/// On Linux, [`Instant`] is `CLOCK_MONOTONIC`, which stands still while the host is suspended. The uptime in
/// `sysinfo(2)` includes this time. A lifetime that another host has set, such as a TTL, continues during a suspension.
/// Code that measures such a lifetime with an `Instant` must add the time of the suspension.
#[derive(Clone, Copy, Debug)]
pub struct Suspension {
    start: Instant,
    uptime: Duration,
}

impl Suspension {
    /// Starts a measurement.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), uptime: uptime() }
    }

    /// Returns the time for which the host was suspended since [`start`](Self::start), with an error of at most a
    /// second. Returns zero if this time is below two seconds, or if the system does not report the uptime.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        // The uptime is read before the `Instant`, so that a pause between the two reads is not counted as a
        // suspension.
        let uptime = uptime().saturating_sub(self.uptime);
        suspended(uptime, self.start.elapsed())
    }
}

fn suspended(uptime: Duration, awake: Duration) -> Duration {
    Some(uptime.saturating_sub(awake)).filter(|suspended| *suspended >= RESOLUTION).unwrap_or_default()
}

/// Returns the time since the host was started, including suspensions.
fn uptime() -> Duration {
    #[cfg(target_os = "linux")]
    {
        // A system call without vDSO, which also works under valgrind.
        Duration::from_secs(u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_exceeds_the_time_awake_by_the_suspension() {
        let seconds = Duration::from_secs;
        assert_eq!(suspended(seconds(7210), seconds(10)), seconds(7200));
        assert_eq!(suspended(seconds(11), seconds(10)), Duration::ZERO, "the uptime is in whole seconds");
        assert_eq!(suspended(seconds(0), seconds(10)), Duration::ZERO);
    }

    #[test]
    fn a_host_that_is_awake_was_not_suspended() {
        assert_eq!(Suspension::start().elapsed(), Duration::ZERO);
    }
}
