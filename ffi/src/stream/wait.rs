//! Waits for a socket with `poll(2)` on the caller's thread.

use std::{io, os::fd::BorrowedFd, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Waits until the socket is `ready` or broken. Returns `false` if the deadline passes first. `None` waits without a
/// limit.
pub(super) fn wait(socket: BorrowedFd<'_>, ready: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(socket, ready)];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A duration that exceeds the kernel's range means no limit.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            // A signal handler interrupted the call.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
