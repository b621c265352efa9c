//! Files that a client writes to its state directory.

use std::path::{Path, PathBuf};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::read,
};
use tokio::task::spawn_blocking;

/// The maximum time between two written files.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Waits until `condition` is true for the folder. It is checked after each file that is written.
pub(crate) async fn wait_for(folder: PathBuf, condition: impl Fn(&Path) -> bool + Send + 'static) {
    let wait = move || {
        let changes = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&changes, &folder, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE).unwrap();
        while !condition(&folder) {
            let written = poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&PATIENCE)).unwrap();
            assert!(written > 0, "no further file was written to {}", folder.display());
            read(&changes, &mut [0; 4096]).unwrap();
        }
    };
    spawn_blocking(wait).await.unwrap();
}
