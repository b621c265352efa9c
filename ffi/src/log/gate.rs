//! When a callback may be called: until the mesh has been freed, and no moment longer.

use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// What is behind it is not begun after [`close`](Self::close).
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// The threads that are inside.
    inside: Vec<ThreadId>,
}

impl Gate {
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

    /// Waits until nobody is inside but the caller itself.
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
    fn closing_waits_for_who_is_inside_and_lets_nobody_in_afterwards() {
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
    fn who_is_inside_may_close_it() {
        let gate = Gate::default();
        gate.pass(|| gate.close());
        gate.pass(|| panic!("closed"));
    }
}
