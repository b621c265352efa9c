//! Signals are the host program's: none of our threads takes one. None is raised either: what could raise one is writing to a
//! connection that the peer has closed (SIGPIPE), and `mesh-connector` writes without.

use std::mem::MaybeUninit;

use libc::SIG_BLOCK;

/// Blocks all signals on this thread, for good. Threads that it starts inherit that.
pub(crate) fn block_all() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `sigfillset` fills what it is given; then it is a set of signals, which `pthread_sigmask` only reads.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}
