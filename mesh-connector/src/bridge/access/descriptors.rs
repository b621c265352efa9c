//! Checks whether a socket belongs to this process, by its inode in `/proc/self/fd`.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, open, readlinkat, seek};
use tokio::time::Instant;

/// The descriptors whose numbers differ by at most this distance from the accepted descriptor are checked first. A
/// client in this process usually has the next descriptor, because the process has just created both sockets.
const SEARCH_DISTANCE: RawFd = 8;

/// The pause between two scans of all descriptors, as a multiple of the duration of the scan. A scan takes milliseconds
/// if there are thousands of descriptors, and each connection of another process of the same user needs a scan. With
/// this pause, the scans take at most a fifth of the time of one thread.
const PAUSE: u32 = 4;

/// The open file descriptors of this process.
#[derive(Debug)]
pub(super) struct OwnDescriptors {
    table: OwnedFd,
    last: Mutex<Scan>,
}

/// The last scan of all descriptors.
#[derive(Debug, Default)]
struct Scan {
    /// The descriptor of each socket, by its inode.
    sockets: HashMap<u32, RawFd>,
    /// The time at which the scan started. `None` before the first scan.
    started: Option<Instant>,
    /// The time before which no further scan may start.
    next: Option<Instant>,
    /// The number of scans so far.
    count: u64,
}

/// The result of the check whether a socket belongs to this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Yes,
    No,
    /// The check needs a scan of all descriptors, which may not start before this time.
    At(Instant),
}

impl OwnDescriptors {
    pub(super) fn new() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let table = open("/proc/self/fd", flags, Mode::empty())?;
        Ok(Self { table, last: Mutex::default() })
    }

    /// Returns whether a descriptor of this process refers to the socket with this inode. `near` is the descriptor of
    /// the server end of the connection, which this process accepted at the time `accepted`.
    ///
    /// One scan answers for all sockets that were accepted before it started.
    pub(super) fn find_socket(&self, inode: u32, near: RawFd, accepted: Instant) -> io::Result<Found> {
        let link = format!("socket:[{inode}]");
        let mut last = self.last.lock();
        // The descriptor may have been closed since the scan.
        let is_at = |descriptor: &RawFd| self.refers_to(*descriptor, &link, &mut Vec::new());
        if last.sockets.get(&inode).is_some_and(is_at) || self.is_near(near, &link) {
            return Ok(Found::Yes);
        }
        if last.started.is_some_and(|started| started > accepted) {
            return Ok(Found::No);
        }
        let now = Instant::now();
        if let Some(next) = last.next
            && next > now
        {
            return Ok(Found::At(next));
        }
        last.sockets.clear();
        let scanned = self.scan(&mut last.sockets);
        last.count += 1;
        last.started = Some(now);
        let ended = Instant::now();
        last.next = Some(ended + (ended - now) * PAUSE);
        scanned?;
        Ok(if last.sockets.contains_key(&inode) { Found::Yes } else { Found::No })
    }

    /// Returns the number of scans of all descriptors so far.
    #[cfg(test)]
    pub(super) fn scans(&self) -> u64 {
        self.last.lock().count
    }

    /// Returns whether a descriptor near `near` refers to the socket `link`. Checks the nearest descriptors first.
    fn is_near(&self, near: RawFd, link: &str) -> bool {
        let mut name = Vec::new();
        (1..=SEARCH_DISTANCE).any(|distance| {
            let both = [near.saturating_sub(distance), near.saturating_add(distance)];
            both.into_iter().any(|descriptor| descriptor >= 0 && self.refers_to(descriptor, link, &mut name))
        })
    }

    /// Adds all sockets of this process to `sockets`. Opens no descriptor, because the process may have reached its
    /// limit.
    fn scan(&self, sockets: &mut HashMap<u32, RawFd>) -> io::Result<()> {
        seek(&self.table, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&self.table, &mut buffer);
        let mut name = Vec::new();
        while let Some(entry) = entries.next() {
            let Some(descriptor) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(inode) = self.link(descriptor, &mut name).and_then(socket_inode) {
                sockets.insert(inode, descriptor);
            }
        }
        Ok(())
    }

    fn refers_to(&self, descriptor: RawFd, link: &str, buffer: &mut Vec<u8>) -> bool {
        self.link(descriptor, buffer).is_some_and(|target| target == link.as_bytes())
    }

    /// Returns the target of the symbolic link in `/proc/self/fd` for a descriptor. `None` if the descriptor is not
    /// open.
    fn link<'a>(&self, descriptor: RawFd, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let target = readlinkat(&self.table, descriptor.to_string(), std::mem::take(buffer)).ok()?;
        *buffer = target.into_bytes();
        Some(buffer)
    }
}

/// Returns the inode in the link target of a socket, `socket:[INODE]`. `None` for other files.
fn socket_inode(link: &[u8]) -> Option<u32> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
