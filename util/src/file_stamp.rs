//! Detection of changed files without reading them.

use std::{
    fs::{self, Metadata},
    io,
    path::Path,
    time::SystemTime,
};

/// The metadata that changes with a file. Two equal stamps of one path mean that the file is the same and unchanged.
///
/// Symbolic links are followed, so the replacement of a folder or a link (Kubernetes' `..data`) is a change too. On
/// Unix, a replacement is recognised by device and inode and an edit by the time of the last status change, which no
/// program can set, even where length and modification time stay as they were.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileStamp {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: Inode,
}

/// The file behind the path, and when it was last changed (`st_ctime`).
#[cfg(unix)]
#[derive(Clone, Debug, Eq, PartialEq)]
struct Inode {
    device: u64,
    number: u64,
    changed: (i64, i64),
}

impl FileStamp {
    /// The stamp of the file at `path`.
    ///
    /// # Errors
    ///
    /// The file does not exist, or the system refuses access to its metadata.
    pub fn of(path: impl AsRef<Path>) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::new(&metadata))
    }

    /// The content of the file at `path`, with the stamp that it had before it was read: a change during the read shows
    /// in the next stamp.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(path: impl AsRef<Path>) -> io::Result<(Vec<u8>, Self)> {
        let path = path.as_ref();
        let stamp = Self::of(path)?;
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

    fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn a_file_that_is_only_read_keeps_its_stamp() {
        let (_folder, file) = folder("one");
        let (content, stamp) = FileStamp::read(&file).unwrap();
        assert_eq!(content, b"one");
        assert_eq!(stamp, FileStamp::of(&file).unwrap());
    }

    #[test]
    fn another_length_or_modification_time_is_another_stamp() {
        let (_folder, file) = folder("one");
        let before = FileStamp::of(&file).unwrap();
        fs::write(&file, "three").unwrap();
        let longer = FileStamp::of(&file).unwrap();
        assert_ne!(before, longer);
        File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(longer, FileStamp::of(&file).unwrap());
    }

    /// The way editors and network managers write files.
    #[cfg(unix)]
    #[test]
    fn a_replacement_of_the_same_length_and_modification_time_is_another_stamp() {
        let (folder, file) = folder("one");
        let before = FileStamp::of(&file).unwrap();
        let new = folder.path().join("file.new");
        fs::write(&new, "two").unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(before.modified.unwrap()).unwrap();
        fs::rename(&new, &file).unwrap();
        let after = FileStamp::of(&file).unwrap();
        assert_eq!((before.length, before.modified), (after.length, after.modified));
        assert_ne!(before, after);
    }

    /// The way Kubernetes replaces the files of a secret.
    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_to_another_folder_is_another_stamp() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["old", "new"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "same").unwrap();
        }
        symlink("old", path("data")).unwrap();
        let file = path("data").join("file");
        let before = FileStamp::of(&file).unwrap();
        symlink("new", path("data.tmp")).unwrap();
        fs::rename(path("data.tmp"), path("data")).unwrap();
        assert_ne!(before, FileStamp::of(&file).unwrap());
    }

    #[test]
    fn a_missing_file_has_no_stamp() {
        let (folder, _) = folder("");
        let missing = folder.path().join("missing");
        assert_eq!(FileStamp::of(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(FileStamp::read(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
