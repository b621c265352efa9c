//! Detection of changed files without reading them.

use std::{
    fs::{self, Metadata},
    io,
    path::Path,
    time::SystemTime,
};

/// The metadata of a file that change when the file changes. Equal stamps of one path mean that the file is unchanged.
///
/// Symbolic links are followed, so that the replacement of a directory or link (`..data` in Kubernetes volumes) is a
/// change. On Unix, a replacement is detected by device and inode, and an edit by the time of the last status change.
/// Programs cannot set that time, so an edit with the same length and modification time is detected too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileStamp {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: Inode,
}

/// The device and inode of the file, and the time of its last status change (`st_ctime`).
#[cfg(unix)]
#[derive(Clone, Debug, Eq, PartialEq)]
struct Inode {
    device: u64,
    number: u64,
    changed: (i64, i64),
}

impl FileStamp {
    /// Returns the stamp of the file at `path`.
    ///
    /// # Errors
    ///
    /// The file does not exist, or its metadata cannot be read.
    pub fn from_path(path: impl AsRef<Path>) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::new(&metadata))
    }

    /// Returns the contents of the file at `path` and the stamp from before the read. A change during the read
    /// therefore changes the next stamp.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(path: impl AsRef<Path>) -> io::Result<(Vec<u8>, Self)> {
        let path = path.as_ref();
        let stamp = Self::from_path(path)?;
        Ok((fs::read(path)?, stamp))
    }

    fn new(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: Inode::new(metadata),
        }
    }
}

#[cfg(unix)]
impl Inode {
    fn new(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::PathBuf};

    use super::*;

    fn directory(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn a_file_that_is_only_read_keeps_its_stamp() {
        let (_folder, file) = directory("one");
        let (content, stamp) = FileStamp::read(&file).unwrap();
        assert_eq!(content, b"one");
        assert_eq!(stamp, FileStamp::from_path(&file).unwrap());
    }

    #[test]
    fn another_length_or_modification_time_changes_the_stamp() {
        let (_folder, file) = directory("one");
        let before = FileStamp::from_path(&file).unwrap();
        fs::write(&file, "three").unwrap();
        let longer = FileStamp::from_path(&file).unwrap();
        assert_ne!(before, longer);
        File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(longer, FileStamp::from_path(&file).unwrap());
    }

    /// Replaces a file like editors and network managers do.
    #[cfg(unix)]
    #[test]
    fn a_replacement_with_the_same_length_and_modification_time_has_another_stamp() {
        let (folder, file) = directory("one");
        let before = FileStamp::from_path(&file).unwrap();
        let new = folder.path().join("file.new");
        fs::write(&new, "two").unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(before.modified.unwrap()).unwrap();
        fs::rename(&new, &file).unwrap();
        let after = FileStamp::from_path(&file).unwrap();
        assert_eq!((before.length, before.modified), (after.length, after.modified));
        assert_ne!(before, after);
    }

    /// Replaces files like Kubernetes does for a secret volume.
    #[cfg(unix)]
    #[test]
    fn a_link_to_another_directory_has_another_stamp() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["old", "new"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "same").unwrap();
        }
        symlink("old", path("data")).unwrap();
        let file = path("data").join("file");
        let before = FileStamp::from_path(&file).unwrap();
        symlink("new", path("data.tmp")).unwrap();
        fs::rename(path("data.tmp"), path("data")).unwrap();
        assert_ne!(before, FileStamp::from_path(&file).unwrap());
    }

    #[test]
    fn a_missing_file_has_no_stamp() {
        let (folder, _) = directory("");
        let missing = folder.path().join("missing");
        assert_eq!(FileStamp::from_path(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(FileStamp::read(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
