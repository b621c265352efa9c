//! Detects that the process is a forked child, without a system call. Every use of a handle needs this check, and
//! glibc's `getpid` is a system call.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use libc::{MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};

/// Identifies a process among its ancestors.
///
/// The value is the number of forks since the first process that used handles. A process ID is not unique, because the
/// system reuses it: the child of a child can have the ID of a process that has ended. The value is a process ID only
/// if the system does not support `MADV_WIPEONFORK`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Process(u32);

/// A memory page that contains the number of this process, or 0 if the process has not called [`Process::enter`]. The
/// kernel clears the page in a forked child. NULL before the first use, and [`UNSUPPORTED`] if the system cannot create
/// such a page.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// The value of [`PAGE`] on a system without `MADV_WIPEONFORK`. `PAGE` is set only once, so a number of forks is never
/// compared with a process ID.
const UNSUPPORTED: *mut AtomicU32 = ptr::dangling_mut();

const SIZE: usize = 4096;

impl Process {
    /// Returns a new identity for this process. `parent` is the identity of the parent process, or `None` if the parent
    /// process used no handles.
    pub(super) fn enter(parent: Option<Self>) -> Self {
        let Some(page) = page() else { return Self(std::process::id()) };
        let number = parent.map_or(1, |Self(parent)| parent.wrapping_add(1).max(1));
        // Another thread that enters at the same time stores the same number.
        page.store(number, Ordering::Relaxed);
        Self(number)
    }

    /// Returns whether this value identifies the calling process.
    pub(super) fn is_current(self) -> bool {
        let number = page().map_or_else(std::process::id, |page| page.load(Ordering::Relaxed));
        number == self.0
    }
}

/// Returns the memory page that contains the number of this process, or `None` if the system does not support
/// `MADV_WIPEONFORK`.
fn page() -> Option<&'static AtomicU32> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        page = new().unwrap_or(UNSUPPORTED);
        if let Err(first) = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire)
        {
            if page != UNSUPPORTED {
                // SAFETY: this thread mapped the page, and no other thread has a pointer to it.
                unsafe { libc::munmap(page.cast(), SIZE) };
            }
            page = first;
        }
    }
    if page == UNSUPPORTED {
        return None;
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
