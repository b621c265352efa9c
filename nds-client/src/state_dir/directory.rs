//! A directory of files with one writing process.
//!
//! The process that holds the lock writes; others read. Each file is replaced atomically, so that a reader sees either
//! the old or the new file, also after a crash.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind};

/// A directory whose files only this user can read.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: PathBuf,
    /// The lock file, locked while it is open. The cell is empty until this process holds the lock.
    lock_file: OnceLock<File>,
}

impl Directory {
    /// Creates a handle that can read files but does not hold the lock.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), lock_file: OnceLock::new() }
    }

    /// Creates the directory if it does not exist, and locks it. The method must not be called again after a success.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        let failed = |error| failed(&self.dir, "cannot be used", error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let mut open = OpenOptions::new();
        let lock = open.create(true).write(true).truncate(false).mode(0o600).open(self.path("lock"));
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.lock_file.get_or_init(|| lock);
                Ok(())
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!(
                    "the state directory {} is in use by another process: this process reads it but persists nothing; use a separate directory for each process",
                    self.dir.display()
                );
                Err(Error::new(ErrorKind::Storage, message))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Returns whether this process holds the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock_file.get().is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the contents of a file; `None` if it does not exist.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(self.path(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.path(name), "cannot be read", error)),
        }
    }

    /// Replaces a file. After an error or a crash the old file still exists. Does nothing if this process does not hold
    /// the lock.
    pub(crate) fn write(&self, name: &str, content: &[&[u8]]) -> Result<(), Error> {
        self.write_with(name, |file| content.iter().try_for_each(|part| file.write_all(part)))
    }

    /// Replaces a file with contents that `fill` writes, as [`write`](Self::write) does.
    pub(crate) fn write_with(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.write_to(name, fill, create)
    }

    fn write_to(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
        open: impl FnOnce(&Path) -> io::Result<File>,
    ) -> Result<(), Error> {
        if !self.is_locked() {
            return Ok(());
        }
        let (path, unfinished) = (self.path(name), self.path(&format!(".{name}.new")));
        let replace = || {
            let mut file = open(&unfinished)?;
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        replace().map_err(|error| {
            // The unfinished file may not exist.
            let _ = fs::remove_file(&unfinished);
            failed(&path, "cannot be written", error)
        })
    }
}

fn create(path: &Path) -> io::Result<File> {
    // A file left by a crash may have another owner and mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let message = format!(
        "{} {what}: check that this user can write to the state directory and that the disk is not full",
        path.display()
    );
    Error::with_source(ErrorKind::Storage, message, error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(dir: &Path) -> Directory {
        let directory = Directory::new(dir);
        directory.lock().unwrap();
        directory
    }

    #[test]
    fn a_file_is_readable_by_its_owner_only_and_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir.path().join("state"));
        assert_eq!(directory.read("a").unwrap(), None);
        directory.write("a", &[b"one"]).unwrap();
        directory.write("a", &[b"tw", b"o"]).unwrap();
        assert_eq!(directory.read("a").unwrap().as_deref(), Some(&b"two"[..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory.path("a")), mode(&dir.path().join("state"))), (0o600, 0o700));
    }

    #[test]
    fn a_second_process_writes_only_after_the_first_has_exited() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        first.write("a", &[b"one"]).unwrap();
        let second = Directory::new(dir.path());
        let reason = second.lock().unwrap_err();
        assert_eq!(reason.kind(), ErrorKind::Storage);
        assert!(reason.to_string().contains(&dir.path().display().to_string()), "{reason}");
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(second.read("a").unwrap().as_deref(), Some(&b"one"[..]));
        drop(first);
        second.lock().unwrap();
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(second.read("a").unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn a_full_disk_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        directory.write("a", &[b"old"]).unwrap();
        let full = |_: &Path| OpenOptions::new().write(true).open("/dev/full");
        let error = directory.write_to("a", |file| file.write_all(b"new"), full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.report().contains("No space left"), "{}", error.report());
        assert_eq!(directory.read("a").unwrap().as_deref(), Some(&b"old"[..]));
        directory.write("a", &[b"new"]).unwrap();
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        fs::write(dir.path().join(".a.new"), "half").unwrap();
        directory.write("a", &[b"whole"]).unwrap();
        assert_eq!(directory.read("a").unwrap().as_deref(), Some(&b"whole"[..]));
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_an_error_with_its_path() {
        let error = Directory::new(Path::new("/proc/nowhere")).lock().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
