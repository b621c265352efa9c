//! The process ID without a system call. Every use of a handle needs it, and glibc's `getpid` is a system call.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use libc::{MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};

/// A memory page that contains the process ID, or NULL before the first use. The kernel clears the page in a forked
/// child.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

const SIZE: usize = 4096;

pub(super) fn pid() -> u32 {
    let Some(known) = page() else { return std::process::id() };
    match known.load(Ordering::Relaxed) {
        0 => {
            let pid = std::process::id();
            known.store(pid, Ordering::Relaxed);
            pid
        }
        pid => pid,
    }
}

/// Returns the page, or `None` if the system does not support `MADV_WIPEONFORK`.
fn page() -> Option<&'static AtomicU32> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        page = new()?;
        if let Err(first) = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: this thread mapped the page, and no other thread has a pointer to it.
            unsafe { libc::munmap(page.cast(), SIZE) };
            page = first;
        }
    }
    // SAFETY: the page is never unmapped, and zero bytes are a valid `AtomicU32`.
    Some(unsafe { &*page })
}

fn new() -> Option<*mut AtomicU32> {
    // SAFETY: an anonymous mapping at an address that the kernel chooses affects no other memory.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    };
    if page == MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping was created above. The kernel rounds `SIZE` up to whole pages in both calls.
    if unsafe { libc::madvise(page, SIZE, MADV_WIPEONFORK) } != 0 {
        // SAFETY: the mapping was created above, and no pointer to it is used afterwards.
        unsafe { libc::munmap(page, SIZE) };
        return None;
    }
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_sees_its_own_process_id() {
        assert_eq!((pid(), pid()), (std::process::id(), std::process::id()));
        // SAFETY: the child only compares numbers, and ends without running exit handlers.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_equal = pid() == std::process::id();
            // SAFETY: `_exit` is safe to call at any time.
            unsafe { libc::_exit(i32::from(!is_equal)) };
        }
        let mut status = -1;
        // SAFETY: `child` is a child of this process, and `status` is a valid output.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
