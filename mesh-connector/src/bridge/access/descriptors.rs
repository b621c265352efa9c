//! Checks whether a socket belongs to this process, by its inode in `/proc/self/fd`.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    sync::OnceLock,
    time::Duration,
};

use rustix::fs::{Dir, Mode, OFlags, open, readlinkat};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// The maximum distance from the accepted descriptor of the descriptors that are checked first. The descriptor of a
/// client in this process is usually close, because the process has just created both.
const SEARCH_DISTANCE: RawFd = 128;

/// The minimum time between two full scans of the descriptors. A scan takes milliseconds if there are thousands of
/// descriptors, and any local process can trigger a scan by connecting.
const SCAN_INTERVAL: Duration = Duration::from_millis(20);

/// The open file descriptors of this process.
#[derive(Debug, Default)]
pub(super) struct OwnDescriptors {
    table: OnceLock<OwnedFd>,
    next_scan: Mutex<Option<Instant>>,
}

impl OwnDescriptors {
    /// Returns whether a descriptor of this process refers to the socket with this inode. `accepted` is the descriptor
    /// of the server end of the connection.
    pub(super) async fn contains_socket(&self, inode: u32, accepted: RawFd) -> bool {
        let link = format!("socket:[{inode}]");
        let Ok(table) = self.table() else {
            return false;
        };
        if near(table, accepted, &link) {
            return true;
        }
        let mut next = self.next_scan.lock().await;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        let found = scan(table, &link).unwrap_or(false);
        *next = Some(Instant::now() + SCAN_INTERVAL);
        found
    }

    fn table(&self) -> io::Result<&OwnedFd> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let table = open("/proc/self/fd", flags, Mode::empty())?;
        Ok(self.table.get_or_init(|| table))
    }
}

/// Returns whether a descriptor near `accepted` refers to the socket `link`. Checks the nearest descriptors first.
fn near(table: &OwnedFd, accepted: RawFd, link: &str) -> bool {
    let mut name = Vec::new();
    (1..=SEARCH_DISTANCE).any(|distance| {
        let both = [accepted.saturating_sub(distance), accepted.saturating_add(distance)];
        both.into_iter()
            .any(|descriptor| descriptor >= 0 && is(table, &descriptor.to_string(), link, &mut name))
    })
}

fn scan(table: &OwnedFd, link: &str) -> io::Result<bool> {
    let mut name = Vec::new();
    for entry in Dir::read_from(table)? {
        let entry = entry?;
        if let Ok(descriptor) = entry.file_name().to_str()
            && is(table, descriptor, link, &mut name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is(table: &OwnedFd, descriptor: &str, link: &str, buffer: &mut Vec<u8>) -> bool {
    match readlinkat(table, descriptor, std::mem::take(buffer)) {
        Ok(target) => {
            let same = target.as_bytes() == link.as_bytes();
            *buffer = target.into_bytes();
            same
        }
        Err(_) => false,
    }
}
