//! Which process this is, without a system call: handles are looked up with every call, and glibc asks the kernel for the
//! number each time.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use libc::{MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};

/// A page that a forked child finds empty.
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

/// `None` where the system has no such pages.
fn page() -> Option<&'static AtomicU32> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        page = new()?;
        if let Err(others) = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: it was mapped just now, and nobody else has it.
            unsafe { libc::munmap(page.cast(), SIZE) };
            page = others;
        }
    }
    // SAFETY: a page that was mapped for good; zero bytes are a number.
    Some(unsafe { &*page })
}

fn new() -> Option<*mut AtomicU32> {
    // SAFETY: a new mapping, of nothing that anybody has.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    };
    if page == MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping of above. Where a page is larger than `SIZE`, so is the mapping.
    if unsafe { libc::madvise(page, SIZE, MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above.
        unsafe { libc::munmap(page, SIZE) };
        return None;
    }
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_is_another_process() {
        assert_eq!((pid(), pid()), (std::process::id(), std::process::id()));
        // SAFETY: the child does nothing but compare numbers, and ends without running anything of this process'.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (told, is) = (pid(), std::process::id());
            // SAFETY: it does not return.
            unsafe { libc::_exit(i32::from(told != is)) };
        }
        let mut status = -1;
        // SAFETY: the child of above, and room for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
