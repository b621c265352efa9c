//! Listening Unix sockets and their files.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

use super::cannot_listen;
use crate::error::Error;

/// The file of a Unix socket. Dropping this value removes the file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and inode of the file. `None` if they could not be read. A file that has replaced it is not removed.
    identity: Option<(u64, u64)>,
}

/// Listens on `path`. If `path` is the file of a socket on which no program listens, replaces the file.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let failed = |next: &str, error| cannot_listen(path.display(), next, error);
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !is_abandoned(path).await {
                return Err(failed("another program listens on it, or the file is not a socket", error));
            }
            fs::remove_file(path).map_err(|error| failed("the old socket cannot be removed", error))?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| {
        failed("the directory must exist and be writable, and the path must not exceed 107 bytes", error)
    })?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: identity(path) }))
}

/// Returns whether the file belongs to a socket that no program listens on.
async fn is_abandoned(path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        return false;
    }
    let connected = UnixStream::connect(path).await;
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // If the removal fails, the next bridge on this path finds that no program listens, and replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn an_unused_socket_file_is_replaced_and_a_used_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".s.PGSQL.5432");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, file) = bind(&path).await.unwrap();
        let error = bind(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Listen);
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert!(bind(&dir.path().join("x".repeat(200))).await.is_err());
    }
}
