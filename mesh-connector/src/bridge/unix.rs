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
    /// The device and inode of the file. `None` if they could not be read. If another file has replaced this one, it is
    /// not removed.
    identity: Option<Identity>,
}

/// The device and inode of a file.
type Identity = (u64, u64);

/// Listens on `path`. If `path` is the file of a socket on which no program listens, replaces the file.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let failed = |next: &str, error| cannot_listen(path.display(), next, error);
    let in_use = "another program listens on it, or the file is not a socket";
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let Some(abandoned) = abandoned(path).await else {
                return Err(failed(in_use, error));
            };
            match remove(path, abandoned) {
                Ok(true) => UnixListener::bind(path),
                Ok(false) => return Err(failed(in_use, error)),
                Err(error) => return Err(failed("the old socket cannot be removed", error)),
            }
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| {
        failed("the directory must exist and be writable, and the path must not exceed 107 bytes", error)
    })?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: identity(path) }))
}

/// Returns the device and inode of the file if it belongs to a socket on which no program listens.
async fn abandoned(path: &Path) -> Option<Identity> {
    let file = fs::symlink_metadata(path).ok().filter(|file| file.file_type().is_socket())?;
    let connected = UnixStream::connect(path).await;
    let is_abandoned = connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_abandoned.then(|| (file.dev(), file.ino()))
}

fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Removes the file at `path` if it has this device and inode. Returns whether the file was removed.
///
/// Another program can replace the file at any time. So the file is first moved to a name that no other program uses,
/// and removed there if it is the wanted file. Any other file is moved back.
fn remove(path: &Path, wanted: Identity) -> io::Result<bool> {
    if identity(path) != Some(wanted) {
        return Ok(false);
    }
    move_and_remove(path, wanted)
}

fn move_and_remove(path: &Path, wanted: Identity) -> io::Result<bool> {
    let moved = path.with_file_name(format!(".sidestep-{:016x}", fastrand::u64(..)));
    fs::rename(path, &moved)?;
    let is_wanted = identity(&moved) == Some(wanted);
    if !is_wanted {
        // Unlike a rename, a link fails if there is a file at `path`. The file at `path` is then newer, and stays.
        let linked = fs::hard_link(&moved, path);
        linked.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    fs::remove_file(&moved)?;
    Ok(is_wanted)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(own) = self.identity {
            // If the removal fails, the next bridge on this path finds that no program listens, and replaces the file.
            let _ = remove(&self.path, own);
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
    async fn a_socket_of_another_program_that_has_just_replaced_an_abandoned_one_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let old = abandoned(&path).await.unwrap();
        // Two files exist at the same time, so that they have different inodes.
        let other = dir.path().join("other");
        let listener = UnixListener::bind(&other).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!remove(&path, old).unwrap());
        let (connected, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_that_is_moved_away_by_mistake_is_moved_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let before = identity(&path);
        assert!(!move_and_remove(&path, (0, 0)).unwrap());
        assert_eq!(identity(&path), before);
        let (connected, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
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
