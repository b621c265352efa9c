//! A folder of files that one process writes.
//!
//! One process writes to it, the one that holds the lock; others read. Each file is replaced as a whole, so that a reader
//! sees the old one or the new one and nothing else, whatever happens in between.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind};

/// A folder of files that only this user reads.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    /// Held for as long as it is open. Empty while another process holds it.
    lock: OnceLock<File>,
}

impl Folder {
    /// The folder, to read from.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), lock: OnceLock::new() }
    }

    /// Makes the folder where it is not there, and becomes the process that writes to it. Not to be repeated once that
    /// is so.
    pub(crate) fn acquire(&self) -> Result<(), Error> {
        let failed = |error| failed(&self.dir, "cannot be used", error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let mut open = OpenOptions::new();
        let lock = open.create(true).write(true).truncate(false).mode(0o600).open(self.path("lock"));
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.lock.get_or_init(|| lock);
                Ok(())
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!(
                    "the state folder {} is in use by another process: what is in it is read, but nothing is kept; give each process a folder of its own",
                    self.dir.display()
                );
                Err(Error::new(ErrorKind::Storage, message))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Whether this process may write.
    pub(crate) fn is_ours(&self) -> bool {
        self.lock.get().is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file's content; `None` where it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(self.path(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.path(name), "cannot be read", error)),
        }
    }

    /// Replaces a file. After an error, or a crash at any moment, the old one is still there.
    pub(crate) fn write(&self, name: &str, content: &[&[u8]]) -> Result<(), Error> {
        self.write_with(name, |file| content.iter().try_for_each(|part| file.write_all(part)))
    }

    /// The same for a content that is made while it is written.
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
        if !self.is_ours() {
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
            // It may never have come about.
            let _ = fs::remove_file(&unfinished);
            failed(&path, "cannot be written", error)
        })
    }
}

fn create(path: &Path) -> io::Result<File> {
    // What a crash has left behind may belong to anybody.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let message =
        format!("{} {what}: the state folder must be writable for this user, and have space", path.display());
    Error::with_source(ErrorKind::Storage, message, error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(dir: &Path) -> Folder {
        let storage = Folder::new(dir);
        storage.acquire().unwrap();
        storage
    }

    #[test]
    fn a_file_is_for_its_owner_alone_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir.path().join("state"));
        assert_eq!(storage.read("a").unwrap(), None);
        storage.write("a", &[b"one"]).unwrap();
        storage.write("a", &[b"tw", b"o"]).unwrap();
        assert_eq!(storage.read("a").unwrap().as_deref(), Some(&b"two"[..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&storage.path("a")), mode(&dir.path().join("state"))), (0o600, 0o700));
    }

    #[test]
    fn a_second_process_reads_and_does_not_write_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        first.write("a", &[b"one"]).unwrap();
        let second = Folder::new(dir.path());
        let reason = second.acquire().unwrap_err();
        assert_eq!(reason.kind(), ErrorKind::Storage);
        assert!(reason.to_string().contains(&dir.path().display().to_string()), "{reason}");
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(second.read("a").unwrap().as_deref(), Some(&b"one"[..]));
        drop(first);
        second.acquire().unwrap();
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(second.read("a").unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path());
        storage.write("a", &[b"old"]).unwrap();
        let full = |_: &Path| OpenOptions::new().write(true).open("/dev/full");
        let error = storage.write_to("a", |file| file.write_all(b"new"), full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.report().contains("No space left"), "{}", error.report());
        assert_eq!(storage.read("a").unwrap().as_deref(), Some(&b"old"[..]));
        storage.write("a", &[b"new"]).unwrap();
    }

    #[test]
    fn what_a_crash_left_behind_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path());
        fs::write(dir.path().join(".a.new"), "half").unwrap();
        storage.write("a", &[b"whole"]).unwrap();
        assert_eq!(storage.read("a").unwrap().as_deref(), Some(&b"whole"[..]));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let error = Folder::new(Path::new("/proc/nowhere")).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
