//! Queues, for event loops: a program starts operations without blocking, and fetches their results when a descriptor is
//! readable.

pub mod bridge_operations;
pub mod dns_operations;
mod operations;
pub mod start;

use std::{
    collections::VecDeque,
    ffi::c_int,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use self::operations::Operations;
use crate::{
    arguments::Out,
    boundary::call,
    completion::{Completion, sidestep_completion},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_E_AGAIN, SIDESTEP_E_INVALID_ARGUMENT, sidestep_status},
};

/// A queue of operations in progress and of completions.
#[derive(Debug)]
pub struct sidestep_queue(());

pub(crate) struct Queue {
    member: Arc<Member>,
    done: Arc<Done>,
    operations: Arc<Operations>,
}

impl Kind for Queue {
    type C = sidestep_queue;
    const TAG: u8 = 7;
    const NAME: &'static str = "sidestep_queue";
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.operations.cancel_all();
    }
}

/// The completions that the program has not fetched. The descriptor of the queue is readable while this list is not
/// empty.
struct Done {
    completions: Mutex<VecDeque<Completion>>,
    event: OwnedFd,
}

impl Done {
    fn add(&self, completion: Completion) {
        let mut completions = self.completions.lock();
        completions.push_back(completion);
        if completions.len() == 1 {
            // The write cannot fail: the counter is 0, so it does not overflow.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    fn next(&self) -> Option<Completion> {
        let mut completions = self.completions.lock();
        let next = completions.pop_front()?;
        if completions.is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        Some(next)
    }
}

/// Creates a queue for operations on a mesh.
///
/// A function `sidestep_queue_…` that is the non-blocking form of another function starts an operation and returns. The
/// operation ends with exactly one completion, which `sidestep_queue_next` returns together with `user_data`. The
/// function stores the number of the operation, which `sidestep_queue_cancel` needs, in `*operation`; `operation` may
/// be NULL. The function itself reports invalid arguments, and the completion reports all other failures.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_new(
    mesh: *const sidestep_mesh,
    queue: *mut *mut sidestep_queue,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (queue, err) = unsafe { (Out::required(queue, ptr::null_mut(), "queue"), Out::error(err)) };
    call(err, || {
        let queue = queue?;
        let member = handle::get::<Member>(mesh)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::of_system("cannot create a descriptor for the queue", &error.into()))?;
        let done = Arc::new(Done { completions: Mutex::default(), event });
        queue.set(handle::create(Queue { member, done, operations: Arc::default() })?);
        Ok(())
    })
}

/// Returns the descriptor of a queue, for poll, epoll, libuv or GLib. The descriptor is readable while the queue has
/// completions. Do not read, write or close the descriptor. Returns -1 if `queue` is not a valid handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_queue_fd(queue: *const sidestep_queue) -> c_int {
    handle::read(queue, -1, |queue: &Queue| queue.done.event.as_raw_fd())
}

/// Fetches the completion of the operation that ended first. `size` is `sizeof(sidestep_completion)`. The call does not
/// wait: if the queue has no completion, it returns `SIDESTEP_E_AGAIN`, and stores no error object.
///
/// The returned status is the status of the fetch. The status of the operation is in the completion.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_next(
    queue: *mut sidestep_queue,
    completion: *mut sidestep_completion,
    size: usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let err = unsafe { Out::error(err) };
    let mut is_empty = false;
    let fetched = call(err, || {
        let queue = handle::get::<Queue>(queue)?;
        let expected = size_of::<sidestep_completion>();
        if size != expected {
            let message = format!(
                "sizeof(sidestep_completion) is {expected} in the library, but the program passed {size}"
            );
            return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message));
        }
        // SAFETY: the header requires valid outputs, and the program's structure has the size of the library's.
        let completion = unsafe { Out::required(completion, sidestep_completion::EMPTY, "completion") }?;
        match queue.done.next() {
            Some(next) => completion.set(next.into_c(&queue.member)),
            None => is_empty = true,
        }
        Ok(())
    });
    if is_empty { SIDESTEP_E_AGAIN } else { fetched }
}

/// Cancels an operation. Its completion has the status `SIDESTEP_E_CANCELLED`, unless the operation ended before. There is one
/// completion in both cases. Does nothing if there is no operation with this number.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_cancel(
    queue: *mut sidestep_queue,
    operation: u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        handle::get::<Queue>(queue)?.operations.cancel(operation);
        Ok(())
    })
}

/// Frees a queue and closes its descriptor. Cancels its operations, and frees the completions that were not fetched. Does
/// nothing if `queue` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_queue_free(queue: *mut sidestep_queue) -> sidestep_status {
    handle::free::<Queue>(queue)
}
