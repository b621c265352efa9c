//! Operations that are started now and fetched later, when one descriptor is readable: for event loops.

mod operations;
pub mod start;

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use self::operations::Operations;
use crate::{
    arguments::Out,
    border::call,
    completion::{Completion, sidestep_completion},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_AGAIN, SIDESTEP_INVALID_ARGUMENT, sidestep_status},
};

/// Operations under way and what they came to. Any thread may use it.
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

/// What has been completed and not been fetched. The descriptor is readable while there is something.
struct Done {
    completions: Mutex<VecDeque<Completion>>,
    event: OwnedFd,
}

impl Done {
    fn add(&self, completion: Completion) {
        let mut completions = self.completions.lock();
        completions.push_back(completion);
        if completions.len() == 1 {
            // The counter is 0: it cannot overflow.
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

/// A queue for operations on a mesh.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_new(
    mesh: *const sidestep_mesh,
    queue: *mut *mut sidestep_queue,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (queue, err) = unsafe { (Out::required(queue, ptr::null_mut(), "queue"), Out::error(err)) };
    call(err, || {
        let queue = queue?;
        let member = handle::get::<Member>(mesh)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::of_system("no descriptor for a queue", &error.into()))?;
        let done = Arc::new(Done { completions: Mutex::default(), event });
        queue.set(handle::give(Queue { member, done, operations: Arc::default() }));
        Ok(())
    })
}

/// The queue's descriptor, which is readable while there is something to fetch: for poll, epoll, libuv, GLib. Wait for it,
/// and do not read, write or close it. -1 where `queue` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_queue_fd(queue: *const sidestep_queue) -> i32 {
    handle::get::<Queue>(queue).map_or(-1, |queue| queue.done.event.as_raw_fd())
}

/// Fetches what one operation came to, in the order in which they ended: `size` is `sizeof(sidestep_completion)`. Returns
/// `SIDESTEP_AGAIN`, without an error object, where there is nothing; it never waits. Whether the operation worked stands in
/// the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_next(
    queue: *mut sidestep_queue,
    completion: *mut sidestep_completion,
    size: usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    let err = unsafe { Out::error(err) };
    let mut nothing = false;
    let fetched = call(err, || {
        let queue = handle::get::<Queue>(queue)?;
        let expected = size_of::<sidestep_completion>();
        if size != expected {
            let message =
                format!("a sidestep_completion has {expected} bytes here, and {size} in the program");
            return Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message));
        }
        // SAFETY: as the header says of outputs, and the program has room for one.
        let completion = unsafe { Out::required(completion, sidestep_completion::NOTHING, "completion") }?;
        match queue.done.next() {
            Some(next) => completion.set(next.into()),
            None => nothing = true,
        }
        Ok(())
    });
    if nothing { SIDESTEP_AGAIN } else { fetched }
}

/// Cancels an operation: it ends soon, with `SIDESTEP_CANCELLED`, unless it has ended already. Either way there is exactly
/// one completion of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_cancel(
    queue: *mut sidestep_queue,
    operation: u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        handle::get::<Queue>(queue)?.operations.cancel(operation);
        Ok(())
    })
}

/// Frees a queue, its descriptor, the operations under way, and what was not fetched. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_queue_free(queue: *mut sidestep_queue) -> sidestep_status {
    handle::free::<Queue>(queue)
}
