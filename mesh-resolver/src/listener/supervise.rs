//! Continues the work of a listener after a panic.
//!
//! A listener calls functions of the program: the access rule, the local addresses, the subscriber of `tracing`. If one
//! of them panics for one query, the listener must not stop answering all others.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::warnings::{Cause, Warnings};

/// The pause after a panic, so that a repeated panic does not use all CPU time.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs `work` on this thread. Returns true if `work` returned, and false if it panicked and must run again.
pub(super) fn has_returned(warnings: &Warnings, work: impl FnOnce()) -> bool {
    // The state that `work` refers to is valid after a panic: counters, sockets and immutable settings.
    let returned = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !returned {
        report(warnings);
        thread::sleep(PAUSE);
    }
    returned
}

/// Runs the future `work`. Returns true if it ended, and false if it panicked and must run again.
pub(super) async fn has_ended(warnings: &Warnings, work: impl Future<Output = ()>) -> bool {
    let ended = AssertUnwindSafe(work).catch_unwind().await.is_ok();
    if !ended {
        report(warnings);
        sleep(PAUSE).await;
    }
    ended
}

/// Logs that the listener panicked, without the message of the panic: the panic hook of the program has received it.
pub(super) fn report(warnings: &Warnings) {
    if let Some(times) = warnings.occurred(Cause::Panic) {
        tracing::error!(
            times,
            "the DNS listener panicked while it handled a query: it continues with the next one"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_reported_and_the_end_is_distinguished_from_it() {
        let warnings = Warnings::default();
        assert!(has_returned(&warnings, || {}));
        assert!(!has_returned(&warnings, || panic!("in a test")));
        assert!(has_ended(&warnings, async {}).await);
        assert!(!has_ended(&warnings, async { panic!("in a test") }).await);
    }
}
