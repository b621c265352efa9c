//! What time it is, as a value.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// The wall clock. Only dates are read from it; what has to last is measured by tokio's monotonic clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The host's.
    pub(crate) fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that `now` reads.
    pub(crate) fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The host's time now, going on with tokio's clock: where that is paused, a day takes no time.
    pub(crate) fn of_tokio() -> Self {
        let (wall, start) = (SystemTime::now(), tokio::time::Instant::now());
        Self::of(move || wall + start.elapsed())
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = self.now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
