//! The gate that stops log callbacks when the mesh is freed.

use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Allows calls of the log callback until it is closed. No call starts after [`close`](Self::close) has returned.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// The threads that are in a call of the log callback.
    inside: Vec<ThreadId>,
}

impl Gate {
    /// Runs `work`, unless the gate is closed.
    pub(super) fn pass(&self, work: impl FnOnce()) {
        let me = thread::current().id();
        {
            let mut state = self.state();
            if state.closed {
                return;
            }
            state.inside.push(me);
        }
        work();
        let mut state = self.state();
        if let Some(place) = state.inside.iter().rposition(|thread| *thread == me) {
            state.inside.swap_remove(place);
        }
        self.left.notify_all();
    }

    /// Closes the gate, and waits until no other thread is in a call of the log callback.
    pub(crate) fn close(&self) {
        let me = thread::current().id();
        let mut state = self.state();
        state.closed = true;
        while state.inside.iter().any(|thread| *thread != me) {
            self.left.wait(&mut state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    };

    use super::*;

    #[test]
    fn close_waits_for_calls_in_progress_and_prevents_later_calls() {
        let (gate, done) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let (entered, has_entered) = channel();
        let (leave, may_leave) = channel::<()>();
        let inside = thread::spawn({
            let (gate, done) = (gate.clone(), done.clone());
            move || {
                gate.pass(|| {
                    entered.send(()).unwrap();
                    let _ = may_leave.recv();
                    done.store(true, Ordering::SeqCst);
                });
            }
        });
        has_entered.recv().unwrap();
        let closing = thread::spawn({
            let gate = gate.clone();
            move || {
                gate.close();
                assert!(done.load(Ordering::SeqCst));
            }
        });
        drop(leave);
        closing.join().unwrap();
        inside.join().unwrap();
        gate.pass(|| panic!("closed"));
    }

    #[test]
    fn a_call_may_close_the_gate() {
        let gate = Gate::default();
        gate.pass(|| gate.close());
        gate.pass(|| panic!("closed"));
    }
}
