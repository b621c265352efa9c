//! A directory of files with one writing client.
//!
//! The client that holds the lock writes; others read. Each file is replaced atomically, so that a reader sees either
//! the old or the new file, also after a crash. All files are opened relative to the directory that was checked, so a
//! later change of the path has no effect.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat},
    io::Errno,
};
use zeroize::Zeroizing;

use super::{lock::Lock, trusted};
use crate::error::{Error, ErrorKind};

/// A directory that only this user can change, with files that only this user can read.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The open directory; empty if it could not be opened, or if another user could change it.
    directory: OnceLock<File>,
    /// The lock; empty until this client holds it.
    lock: OnceLock<Lock>,
}

impl Directory {
    /// Creates a handle that neither reads nor writes before [`lock`](Self::lock) is called.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), directory: OnceLock::new(), lock: OnceLock::new() }
    }

    /// Opens the directory, creates it if it does not exist, and locks it. If only the lock is not available, the
    /// directory can be read. The method must not be called again after a success.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`]: the directory cannot be opened, another user could change it, or another client holds the
    /// lock.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        let directory = match self.directory.get() {
            Some(directory) => directory,
            None => {
                let opened = trusted::open_directory(&self.path).map_err(|error| self.unusable(error))?;
                self.directory.get_or_init(|| opened)
            }
        };
        match Lock::try_acquire(directory).map_err(|error| failed(&self.path, "cannot be locked", error))? {
            Some(lock) => {
                self.lock.get_or_init(|| lock);
                Ok(())
            }
            None => {
                let message = format!(
                    "the state directory {} is in use by another process or client: this client reads it but persists nothing; use a separate directory for each",
                    self.path.display()
                );
                Err(Error::new(ErrorKind::Storage, message))
            }
        }
    }

    /// Returns whether this client holds the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.get().is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the contents of a file; `None` if it does not exist or if the directory is not open. The contents may be
    /// a private key, so they are erased when they are dropped.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some(directory) = self.directory.get() else { return Ok(None) };
        let read = || {
            let Some(mut file) = trusted::open_file(directory, name)? else { return Ok(None) };
            // With enough capacity, no copy of the contents stays behind in a smaller buffer.
            let size = usize::try_from(file.metadata()?.len()).unwrap_or_default();
            let mut content = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
            file.read_to_end(&mut content)?;
            Ok(Some(content))
        };
        read().map_err(|error| failed(&self.path(name), "cannot be read", error))
    }

    /// Replaces a file. After an error or a crash the old file still exists. Does nothing if this client does not hold
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
        open: impl FnOnce(&File, &str) -> io::Result<File>,
    ) -> Result<(), Error> {
        let Some(directory) = self.directory.get().filter(|_| self.is_locked()) else { return Ok(()) };
        let unfinished = format!(".{name}.new");
        let replace = || {
            let mut file = open(directory, &unfinished)?;
            fill(&mut file)?;
            file.sync_all()?;
            renameat(directory, &*unfinished, directory, name)?;
            Ok(fsync(directory)?)
        };
        replace().map_err(|error: io::Error| {
            // The unfinished file may not exist.
            let _ = unlinkat(directory, &*unfinished, AtFlags::empty());
            failed(&self.path(name), "cannot be written", error)
        })
    }

    fn unusable(&self, error: io::Error) -> Error {
        let message = format!(
            "the state directory {} is neither read nor written: make it, and the directories above it, writable for the user of this process only",
            self.path.display()
        );
        Error::with_source(ErrorKind::Storage, message, error)
    }
}

fn create(directory: &File, name: &str) -> io::Result<File> {
    // A file left by a crash may have another owner and mode.
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let message = format!(
        "{} {what}: check that this user owns the state directory and its files, that no other user can write to them, and that the disk is not full",
        path.display()
    );
    Error::with_source(ErrorKind::Storage, message, error)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn open(dir: &Path) -> Directory {
        let directory = Directory::new(dir);
        directory.lock().unwrap();
        directory
    }

    fn text(directory: &Directory, name: &str) -> Option<String> {
        directory.read(name).unwrap().map(|content| String::from_utf8(content.to_vec()).unwrap())
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_readable_by_its_owner_only_and_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir.path().join("state"));
        assert_eq!(text(&directory, "a"), None);
        directory.write("a", &[b"one"]).unwrap();
        directory.write("a", &[b"tw", b"o"]).unwrap();
        assert_eq!(text(&directory, "a").as_deref(), Some("two"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory.path("a")), mode(&dir.path().join("state"))), (0o600, 0o700));
    }

    #[test]
    fn a_second_client_of_a_process_writes_only_after_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        first.write("a", &[b"one"]).unwrap();
        let second = Directory::new(dir.path());
        let reason = second.lock().unwrap_err();
        assert_eq!(reason.kind(), ErrorKind::Storage);
        assert!(reason.to_string().contains(&dir.path().display().to_string()), "{reason}");
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(text(&second, "a").as_deref(), Some("one"));
        drop(first);
        second.lock().unwrap();
        second.write("a", &[b"two"]).unwrap();
        assert_eq!(text(&second, "a").as_deref(), Some("two"));
    }

    #[test]
    fn a_full_disk_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        directory.write("a", &[b"old"]).unwrap();
        let full = |_: &File, _: &str| OpenOptions::new().write(true).open("/dev/full");
        let error = directory.write_to("a", |file| file.write_all(b"new"), full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.report().contains("No space left"), "{}", error.report());
        assert_eq!(text(&directory, "a").as_deref(), Some("old"));
        directory.write("a", &[b"new"]).unwrap();
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        fs::write(dir.path().join(".a.new"), "half").unwrap();
        directory.write("a", &[b"whole"]).unwrap();
        assert_eq!(text(&directory, "a").as_deref(), Some("whole"));
    }

    #[test]
    fn the_lock_is_released_even_if_a_file_of_the_directory_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        first.write("a", &[b"one"]).unwrap();
        for _ in 0..3 {
            let other = Directory::new(dir.path());
            assert!(other.lock().is_err(), "a failed attempt does not release the lock of the first client");
        }
        drop(first);
        assert!(Directory::new(dir.path()).lock().is_ok());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_neither_read_nor_written() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        open(&dir).write("a", &[b"theirs"]).unwrap();
        for mode in [0o777, 0o770, 0o702, 0o1777] {
            set_mode(&dir, mode);
            let directory = Directory::new(&dir);
            let error = directory.lock().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.report().contains("writable for other users"), "{}", error.report());
            assert!(error.report().contains(&dir.display().to_string()), "{}", error.report());
            directory.write("a", &[b"ours"]).unwrap();
            assert_eq!(text(&directory, "a"), None);
        }
        assert_eq!(fs::read(dir.join("a")).unwrap(), b"theirs");
        set_mode(&dir, 0o755);
        assert_eq!(text(&open(&dir), "a").as_deref(), Some("theirs"));
    }

    #[test]
    fn a_parent_that_others_can_write_to_needs_the_sticky_bit() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        set_mode(parent.path(), 0o777);
        let error = Directory::new(&dir).lock().unwrap_err();
        assert!(error.report().contains("writable for other users"), "{}", error.report());
        set_mode(parent.path(), 0o1777);
        open(&dir);
    }

    #[test]
    fn a_file_that_others_can_write_to_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        directory.write("a", &[b"one"]).unwrap();
        for mode in [0o666, 0o620, 0o602] {
            set_mode(&dir.path().join("a"), mode);
            let error = directory.read("a").unwrap_err();
            assert!(error.report().contains("writable for other users"), "{}", error.report());
        }
        directory.write("a", &[b"two"]).unwrap();
        assert_eq!(text(&directory, "a").as_deref(), Some("two"), "a new file replaces it");
    }

    #[test]
    fn files_that_are_not_regular_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path());
        fs::write(dir.path().join("target"), "theirs").unwrap();
        symlink(dir.path().join("target"), dir.path().join("a")).unwrap();
        let error = directory.read("a").unwrap_err();
        assert!(error.report().contains("symbolic link"), "{}", error.report());
        fs::create_dir(dir.path().join("b")).unwrap();
        assert!(directory.read("b").unwrap_err().report().contains("not a regular file"));
        directory.write("a", &[b"ours"]).unwrap();
        assert_eq!(
            fs::read(dir.path().join("target")).unwrap(),
            b"theirs",
            "the link is replaced, not followed"
        );
    }

    #[test]
    fn a_symbolic_link_is_followed_only_above_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        fs::create_dir(path("real")).unwrap();
        symlink("real", path("link")).unwrap();
        open(&path("link/state")).write("a", &[b"one"]).unwrap();
        assert_eq!(fs::read(path("real/state/a")).unwrap(), b"one");
        let error = Directory::new(&path("link")).lock().unwrap_err();
        assert!(error.report().contains("symbolic link"), "{}", error.report());
        symlink("loop", path("loop")).unwrap();
        assert!(Directory::new(&path("loop/state")).lock().is_err());
        // `..` leads to the parent of the target.
        open(&path("link/../other")).write("a", &[b"two"]).unwrap();
        assert_eq!(fs::read(path("other/a")).unwrap(), b"two");
    }

    #[test]
    fn a_directory_of_another_user_is_neither_read_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        open(&state).write("a", &[b"theirs"]).unwrap();
        // Only root can give a directory to another user.
        if std::os::unix::fs::chown(&state, Some(65534), None).is_err() {
            return;
        }
        let error = Directory::new(&state).lock().unwrap_err();
        assert!(error.report().contains("belongs to the user 65534"), "{}", error.report());
        std::os::unix::fs::chown(&state, Some(0), None).unwrap();
        std::os::unix::fs::chown(state.join("a"), Some(65534), None).unwrap();
        let error = open(&state).read("a").unwrap_err();
        assert!(error.report().contains("belongs to the user 65534"), "{}", error.report());
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_an_error_with_its_path() {
        let error = Directory::new(Path::new("/proc/nowhere")).lock().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
