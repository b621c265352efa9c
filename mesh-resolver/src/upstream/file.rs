//! Reads a file of the host's configuration without waiting for a pipe, and without reading an endless file.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Checks that the file exists and is not a folder or a pipe. Does not read it.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    #[cfg(unix)]
    let is_device = std::os::unix::fs::FileTypeExt::is_char_device(&kind);
    #[cfg(not(unix))]
    let is_device = false;
    match kind.is_file() || is_device {
        true => File::open(path).map(drop),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not a regular file")),
    }
}

/// Reads a file of at most `max` bytes.
pub(super) fn read(path: &Path, max: u32) -> io::Result<Vec<u8>> {
    let max = u64::from(max);
    // Opening a pipe would block.
    check(path)?;
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(max);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(max + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|size| size <= max) {
        true => Ok(bytes),
        false => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file is longer than {max} bytes")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_and_a_folder_are_errors_and_a_short_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "1234").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"1234");
        assert_eq!(read(&file, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(Path::new("/dev/zero"), 1000).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(dir.path(), 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read(&dir.path().join("missing"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
