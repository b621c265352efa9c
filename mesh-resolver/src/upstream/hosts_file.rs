//! The `hosts` file, which a thread for blocking work reads and parses.
//!
//! The file can be large: lists of blocked names have hundreds of thousands of lines. The threads of the runtime never
//! parse it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::{
    file,
    hosts::{Hosts, Skipped},
};

/// The maximum size of the file in bytes.
const MAX_SIZE: u32 = 64 << 20;

/// A `hosts` file and its contents.
pub(super) struct HostsFile {
    shared: Arc<Shared>,
    /// Whether the file has changed since the last load began.
    changed: AtomicBool,
    /// Locked during the first load, so that simultaneous lookups load the file once.
    first_load: tokio::sync::Mutex<()>,
}

struct Shared {
    path: PathBuf,
    /// The contents of the file; `None` before the first load.
    current: ArcSwapOption<Hosts>,
    /// Locked during a load. The load that ends last has read the newest version.
    loading: Mutex<()>,
}

impl HostsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let shared = Shared { path, current: ArcSwapOption::empty(), loading: Mutex::new(()) };
        Self {
            shared: shared.into(),
            changed: AtomicBool::new(false),
            first_load: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Records that the file has changed. The next lookup loads it.
    pub(super) fn set_changed(&self) {
        self.changed.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Returns the contents. Waits for the first load. While a changed file is loaded, its previous contents are
    /// returned.
    pub(super) async fn contents(&self) -> Arc<Hosts> {
        if let Some(hosts) = self.shared.current.load_full() {
            if self.changed.swap(false, AcqRel) {
                drop(self.load());
            }
            return hosts;
        }
        let _first = self.first_load.lock().await;
        if self.shared.current.load().is_none() {
            self.changed.store(false, std::sync::atomic::Ordering::Release);
            if let Err(error) = self.load().await {
                tracing::error!(%error, "reading the hosts file failed: its names are ignored for this lookup");
            }
        }
        self.shared.current.load_full().unwrap_or_default()
    }

    fn load(&self) -> tokio::task::JoinHandle<()> {
        let shared = self.shared.clone();
        spawn_blocking(move || shared.load())
    }

    /// Waits until a changed file is loaded.
    #[cfg(test)]
    pub(super) async fn load_change(&self) {
        assert!(self.changed.swap(false, AcqRel), "the file has changed");
        self.load().await.unwrap();
    }
}

impl Shared {
    /// Reads the file and publishes its contents. An unreadable version does not replace a readable one.
    fn load(&self) {
        let _loading = self.loading.lock();
        let path = self.path.display();
        match file::read(&self.path, MAX_SIZE) {
            Ok(bytes) => {
                let (hosts, skipped) = Hosts::parse(bytes);
                let Skipped { lines, first } = skipped;
                if lines > 0 {
                    tracing::warn!(
                        file = %path,
                        lines,
                        first,
                        "the hosts file contains lines with an invalid address or name: they are ignored"
                    );
                }
                tracing::debug!(file = %path, names = hosts.len(), "read the hosts file");
                self.current.store(Some(hosts.into()));
            }
            Err(error) if self.current.load().is_some() => {
                tracing::warn!(file = %path, %error, "the new hosts file cannot be read: the previous one stays in use");
            }
            Err(error) => {
                tracing::warn!(file = %path, %error, "the hosts file cannot be read and is ignored");
                self.current.store(Some(Arc::default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::FutureExt as _;
    use tokio::pin;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    async fn addresses(hosts: &HostsFile) -> Vec<String> {
        hosts.contents().await.addresses("a.example").map(|ip| ip.to_string()).collect()
    }

    /// The runtime has one thread: if it parsed the file, the first poll would be ready.
    #[tokio::test]
    async fn the_file_is_not_parsed_on_the_thread_of_the_runtime() {
        let file = file("10.0.0.1 a.example\n");
        let hosts = HostsFile::new(file.path().to_owned());
        assert!(hosts.shared.current.load().is_none(), "not when the resolver is created");
        let busy = hosts.shared.loading.lock();
        let first = hosts.contents();
        pin!(first);
        // polling: the lock would be held across an await point
        assert!(first.as_mut().now_or_never().is_none());
        drop(busy);
        first.await;
        assert_eq!(addresses(&hosts).await, ["10.0.0.1"]);
    }

    #[tokio::test]
    async fn the_previous_contents_are_used_until_a_change_is_loaded() {
        let mut file = file("10.0.0.1 a.example\n");
        let hosts = HostsFile::new(file.path().to_owned());
        assert_eq!(addresses(&hosts).await, ["10.0.0.1"]);
        file.write_all(b"10.0.0.2 a.example\n").unwrap();
        hosts.set_changed();
        let busy = hosts.shared.loading.lock();
        // polling: the lock would be held across an await point
        let contents = hosts.contents().now_or_never().expect("no wait");
        assert_eq!(contents.len(), 1);
        drop(busy);
        hosts.set_changed();
        hosts.load_change().await;
        assert_eq!(addresses(&hosts).await, ["10.0.0.1", "10.0.0.2"]);
    }

    #[tokio::test]
    async fn an_unreadable_version_does_not_replace_a_readable_one() {
        let file = file("10.0.0.1 a.example\n");
        let hosts = HostsFile::new(file.path().to_owned());
        hosts.contents().await;
        drop(file);
        hosts.set_changed();
        hosts.load_change().await;
        assert_eq!(addresses(&hosts).await, ["10.0.0.1"]);
    }

    #[tokio::test]
    async fn a_missing_file_and_a_folder_have_no_names() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("missing"), dir.path().to_owned(), "/dev/null".into()] {
            assert_eq!(HostsFile::new(path).contents().await.len(), 0);
        }
    }
}
