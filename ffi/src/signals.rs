//! The handling of signals. Signals belong to the program, so the library's threads block all signals. The library does
//! not raise SIGPIPE either, because `mesh-connector` writes to sockets with `MSG_NOSIGNAL`.

use std::mem::MaybeUninit;

use libc::SIG_BLOCK;

/// Blocks all signals on this thread, and on the threads that it starts.
pub(crate) fn block_all() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set, which `pthread_sigmask` only reads.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}
