//! The operations under way.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The operations under way, by their numbers. Letting go of one's sender cancels it.
#[derive(Default)]
pub(super) struct Operations(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    last: u64,
    under_way: HashMap<u64, oneshot::Sender<()>>,
    closed: bool,
}

impl Operations {
    /// A new one's number, and what it ends with when it is cancelled.
    pub(super) fn begin(&self) -> (u64, oneshot::Receiver<()>) {
        let (cancel, cancelled) = oneshot::channel();
        let mut numbered = self.0.lock();
        numbered.last += 1;
        let number = numbered.last;
        if !numbered.closed {
            numbered.under_way.insert(number, cancel);
        }
        (number, cancelled)
    }

    pub(super) fn cancel(&self, number: u64) {
        self.0.lock().under_way.remove(&number);
    }

    pub(super) fn cancel_all(&self) {
        let mut numbered = self.0.lock();
        numbered.closed = true;
        numbered.under_way.clear();
    }
}
