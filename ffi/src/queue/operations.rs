//! The operations of a queue that are in progress.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The operations in progress, by their number. Dropping the sender of an operation cancels the operation.
#[derive(Default)]
pub(super) struct Operations(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    in_progress: HashMap<u64, oneshot::Sender<()>>,
    closed: bool,
}

impl Operations {
    /// Returns the number of a new operation, and a receiver that completes when the operation is cancelled.
    pub(super) fn begin(&self) -> (u64, oneshot::Receiver<()>) {
        let (cancel, cancelled) = oneshot::channel();
        let mut state = self.0.lock();
        state.last += 1;
        let number = state.last;
        if !state.closed {
            state.in_progress.insert(number, cancel);
        }
        (number, cancelled)
    }

    pub(super) fn cancel(&self, number: u64) {
        self.0.lock().in_progress.remove(&number);
    }

    pub(super) fn cancel_all(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.in_progress.clear();
    }
}
