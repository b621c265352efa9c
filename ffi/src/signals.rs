//! Signals are the host program's: none of our threads takes one, and no call of ours raises one.
//!
//! What raises one is writing to a connection that the peer has closed, by `writev` (SIGPIPE): `rustls` writes so.

use std::mem::MaybeUninit;

use libc::{SIG_BLOCK, SIG_SETMASK, SIGPIPE, sigset_t};

/// Blocks all signals on this thread, for good. Threads that it starts inherit that.
pub(crate) fn block_all() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `sigfillset` fills what it is given; then it is a set of signals, which `pthread_sigmask` only reads.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Runs `work` on a thread of the caller's without SIGPIPE: blocked meanwhile, and taken away if it was raised, which
/// `raised` tells from the result.
pub(crate) fn without_sigpipe<T>(work: impl FnOnce() -> T, raised: impl FnOnce(&T) -> bool) -> T {
    // Restores the mask if `work` panics, too.
    let blocked = Blocked::sigpipe();
    let result = work();
    if raised(&result) {
        blocked.take_sigpipe();
    }
    result
}

struct Blocked {
    sigpipe: sigset_t,
    before: sigset_t,
}

impl Blocked {
    fn sigpipe() -> Self {
        let (mut sigpipe, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: `sigemptyset` and `pthread_sigmask` fill what they are given; both are sets of signals afterwards.
        unsafe {
            libc::sigemptyset(sigpipe.as_mut_ptr());
            libc::sigaddset(sigpipe.as_mut_ptr(), SIGPIPE);
            libc::pthread_sigmask(SIG_BLOCK, sigpipe.as_ptr(), before.as_mut_ptr());
            Self { sigpipe: sigpipe.assume_init(), before: before.assume_init() }
        }
    }

    /// Takes a pending SIGPIPE of this thread away. A program that blocks it itself sees none either way.
    fn take_sigpipe(&self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: all three are valid for the call; no information about the signal is asked for.
        unsafe { libc::sigtimedwait(&raw const self.sigpipe, std::ptr::null_mut(), &raw const now) };
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that this thread had.
        unsafe { libc::pthread_sigmask(SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
