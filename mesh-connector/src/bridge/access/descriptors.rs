//! Whether a socket is one of this process' own: its inode behind one of `/proc/self/fd`.

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

/// How far from the accepted descriptor the client's own is looked for first: both have usually just been made.
const NEAR: RawFd = 128;

/// Looking at all descriptors takes milliseconds where there are thousands of them, and a stranger's connection costs
/// all of it: not more often than this.
const BETWEEN_SCANS: Duration = Duration::from_millis(20);

/// This process' descriptors.
#[derive(Debug, Default)]
pub(super) struct Own {
    table: OnceLock<OwnedFd>,
    next_scan: Mutex<Option<Instant>>,
}

impl Own {
    /// Whether one of them is the socket with this inode. `accepted` is the descriptor of
    /// the other end of its connection.
    pub(super) async fn has(&self, inode: u32, accepted: RawFd) -> bool {
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
        *next = Some(Instant::now() + BETWEEN_SCANS);
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

/// Outward from the accepted descriptor.
fn near(table: &OwnedFd, accepted: RawFd, link: &str) -> bool {
    let mut name = Vec::new();
    (1..=NEAR).any(|distance| {
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
