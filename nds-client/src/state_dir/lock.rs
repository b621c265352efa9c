//! The lock of the state directory: at most one client writes.
//!
//! The lock is a POSIX record lock (`fcntl`). It belongs to a process: a forked child does not inherit it, and the
//! kernel releases it when the process exits, even if a child still has the descriptor. A lock of `flock` belongs to
//! the open file instead, so a forked child would hold the lock of its parent.
//!
//! Two clients of one process need a second mechanism, because a process does not conflict with its own record locks
//! and loses them when it closes any descriptor of the file. [`HELD`] lists the directories that clients of this
//! process have locked, and is checked before the file is opened.

use std::{fs::File, io, process, sync::Arc};

use arc_swap::ArcSwapOption;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, fcntl_lock, fstat, openat},
    io::Errno,
};

/// The name of the lock file.
const NAME: &str = "lock";

/// The directories that clients of this process have locked. A record lock belongs to the process, so this list must
/// belong to the process too. The list is not in a mutex, because a mutex could be locked for ever in a forked child.
/// An entry contains the process ID, because a child inherits the list but not the locks.
static HELD: ArcSwapOption<Vec<Key>> = ArcSwapOption::const_empty();

/// A directory and the process that has locked it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    process: u32,
    device: u64,
    inode: u64,
}

/// The lock of a directory. Dropping the value releases it.
#[derive(Debug)]
pub(super) struct Lock {
    /// The locked file. It is closed, which releases the lock, before the entry in [`HELD`] is removed.
    file: Option<File>,
    key: Key,
}

impl Lock {
    /// Locks an open directory. Returns `None` if another client of this process, or another process, has locked it.
    pub(super) fn try_acquire(directory: &File) -> io::Result<Option<Self>> {
        let stat = fstat(directory)?;
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_fallible_conversions,
            reason = "the types depend on the platform"
        )]
        let key = Key {
            process: process::id(),
            device: stat.st_dev.try_into().unwrap_or_default(),
            inode: stat.st_ino.try_into().unwrap_or_default(),
        };
        if !claim(key) {
            return Ok(None);
        }
        // From here on, an early return drops `lock`, which removes the entry in `HELD`.
        let mut lock = Self { file: None, key };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(directory, NAME, flags, Mode::RUSR | Mode::WUSR)?);
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                lock.file = Some(file);
                Ok(Some(lock))
            }
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.file.take());
        HELD.rcu(|held| {
            let others = held.iter().flat_map(|held| held.iter()).filter(|key| **key != self.key);
            Some(Arc::new(others.copied().collect::<Vec<_>>()))
        });
    }
}

/// Adds an entry to [`HELD`]. Returns `false` if it is already there.
fn claim(key: Key) -> bool {
    let mut is_new = false;
    HELD.rcu(|held| {
        let mut all = held.as_deref().cloned().unwrap_or_default();
        is_new = !all.contains(&key);
        if is_new {
            all.push(key);
        }
        Some(Arc::new(all))
    });
    is_new
}
