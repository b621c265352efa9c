//! Tasks that start again after a panic, and a value that acts when the last of several tasks has ended.
//!
//! A panic in a spawned task ends the task silently: only its `JoinHandle` reports the panic, and often nobody awaits
//! this handle. A task that must run while its owner exists therefore runs inside [`supervise`], which reports the
//! panic and starts the task again. A task also ends without a trace if the runtime ends; an [`OnDrop`] inside the task
//! reports this.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::sleep;

/// The delay before the first restart of a task. Each further panic doubles the delay.
pub const RESTART_DELAY: Duration = Duration::from_secs(1);
/// The longest delay before a restart.
pub const MAX_RESTART_DELAY: Duration = Duration::from_secs(60);

/// Runs `task` until it returns, and starts it again after each panic. `panicked` is called with the delay before the
/// restart.
///
/// The values that a task shares with others must be valid after a panic at any point: use locks without poisoning, and
/// replace published values as a whole. The message of the panic is not passed on, because it can quote any value, such
/// as a password; the panic hook of the program has already received it.
///
/// # Cancel safety
///
/// Dropping the future ends the task.
pub async fn supervise<T, F: Future<Output = T>>(
    mut task: impl FnMut() -> F,
    mut panicked: impl FnMut(Duration),
) -> T {
    let mut delay = RESTART_DELAY;
    loop {
        let run = AssertUnwindSafe(async { task().await });
        if let Ok(ended) = run.catch_unwind().await {
            return ended;
        }
        panicked(delay);
        sleep(delay).await;
        delay = delay.saturating_mul(2).min(MAX_RESTART_DELAY);
    }
}

/// Calls a function when it is dropped: at the end of the task that owns it, whether the task returns, panics or is
/// aborted, or its runtime ends. Several tasks can share it in an [`Arc`](std::sync::Arc); then the function is called
/// when the last of these tasks ends.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    /// Creates a value that calls `function` when it is dropped.
    pub fn new(function: F) -> Self {
        Self(Some(function))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

impl<F: FnOnce()> std::fmt::Debug for OnDrop<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDrop")
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "the panics of tasks are tested")]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_starts_again_after_each_panic_and_later_each_time() {
        let (runs, mut delays) = (AtomicU32::new(0), Vec::new());
        let task = || async {
            sleep(Duration::from_millis(1)).await;
            let run = runs.fetch_add(1, Relaxed);
            assert!(run >= 10, "a defect");
            run
        };
        let result = supervise(task, |delay| delays.push(delay.as_secs())).await;
        assert_eq!(result, 10);
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_before_the_first_await_is_caught_too() {
        let mut first = true;
        let task = || {
            assert!(!std::mem::take(&mut first), "a defect");
            std::future::ready(())
        };
        let mut panics = 0;
        supervise(task, |_| panics += 1).await;
        assert_eq!(panics, 1);
    }

    #[test]
    fn the_end_of_the_runtime_is_noticed_by_the_last_task() {
        let ended = Arc::new(AtomicU32::new(0));
        let guard = Arc::new(OnDrop::new({
            let ended = ended.clone();
            move || {
                ended.fetch_add(1, Relaxed);
            }
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..2 {
            let guard = guard.clone();
            runtime.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        drop(guard);
        assert_eq!(ended.load(Relaxed), 0);
        drop(runtime);
        assert_eq!(ended.load(Relaxed), 1);
    }
}
