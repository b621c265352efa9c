//! Opens the descriptors 0 to 2 (standard input, output and error) in a process that has closed them.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, RawFd},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::fcntl_getfd,
};

/// The descriptors of standard input, output and error.
const STANDARD: std::ops::RangeInclusive<RawFd> = 0..=2;

/// Opens `/dev/null` as each of the descriptors 0 to 2 that is closed, and leaves it open.
///
/// The system gives the lowest free number to each new descriptor. Without this function, a socket to a service could
/// become standard output, and everything that the program prints would be sent to the service.
pub(crate) fn occupy() -> io::Result<()> {
    // SAFETY: the borrow lasts only for a system call, which fails for a descriptor that is not open.
    let is_open = |fd| fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok();
    if STANDARD.into_iter().all(is_open) {
        return Ok(());
    }
    loop {
        let fd = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        if !STANDARD.contains(&fd.as_raw_fd()) {
            return Ok(());
        }
        // It is never closed, because the program may put another file in its place with `dup2`.
        let _ = fd.into_raw_fd();
    }
}
