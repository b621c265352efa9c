//! Opens directories and files that no other user can change.
//!
//! The state directory decides which endpoints and policies a process uses before istiod answers. Its contents are
//! therefore used only under the conditions under which OpenSSH uses a file of keys (`StrictModes`): the directory, all
//! directories above it, and the file belong to this user or to root, and no other user can write to them. A directory
//! above it may be writable for others if its sticky bit is set, as in `/tmp`, because others cannot replace the
//! entries of their neighbours there.
//!
//! Each component is opened relative to the previous one and checked after it was opened, so a path that changes in the
//! meantime has no effect.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, statat},
    io::Errno,
};

/// The maximum number of symbolic links in a path, as in the kernel.
const MAX_LINKS: usize = 40;
/// The bits of group and others that permit writing.
const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the directory at `path` and creates it, with access for this user only, if it does not exist.
///
/// # Errors
///
/// The directory cannot be opened or created. [`io::ErrorKind::PermissionDenied`] with a text: another user could
/// change its contents. The last component must not be a symbolic link.
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    let path = std::path::absolute(path)?;
    let mut directory = root()?;
    let mut walked = PathBuf::from("/");
    // The path components that are not opened yet, in reverse order.
    let mut remaining = components(&path);
    let mut links = 0;
    while let Some(name) = remaining.pop() {
        let is_last = remaining.is_empty();
        let found = match statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                create(&directory, &name)?;
                None
            }
            found => Some(found?),
        };
        let at = walked.join(&name);
        if let Some(link) = found.filter(is_link) {
            // The owner of a symbolic link decides where it leads, so the owner must be trusted.
            let refused = if is_last { Some("is a symbolic link".to_owned()) } else { foreign(&link) };
            if let Some(what) = refused {
                return Err(refusal(&at, &what));
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = readlinkat(&directory, &*name, Vec::new())?;
            let target = PathBuf::from(bytes(target.into_bytes()));
            if target.is_absolute() {
                (directory, walked) = (root()?, PathBuf::from("/"));
            }
            remaining.extend(components(&target));
            continue;
        }
        let access = if is_last { OFlags::RDONLY } else { TRAVERSE };
        let next = File::from(openat(&directory, &*name, access | DIRECTORY, Mode::empty())?);
        let stat = fstat(&next)?;
        if let Some(what) = writable(&stat, !is_last) {
            return Err(refusal(&at, &what));
        }
        (directory, walked) = (next, at);
    }
    Ok(directory)
}

/// Opens a file in a directory for reading. Returns `None` if it does not exist.
///
/// # Errors
///
/// The file cannot be opened, or another user could change it. A symbolic link is not followed.
pub(super) fn open_file(directory: &File, name: &str) -> io::Result<Option<File>> {
    // Without `NONBLOCK`, opening a named pipe would block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refusal(Path::new(name), "is a symbolic link")),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refusal(Path::new(name), "is not a regular file"));
    }
    match writable(&stat, false) {
        Some(what) => Err(refusal(Path::new(name), &what)),
        None => Ok(Some(file)),
    }
}

/// The access to the directories above the last one: these are only searched, not read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TRAVERSE: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const TRAVERSE: OFlags = OFlags::RDONLY;

fn root() -> io::Result<File> {
    Ok(open("/", TRAVERSE | DIRECTORY, Mode::empty())?.into())
}

fn create(directory: &File, name: &OsStr) -> io::Result<()> {
    match mkdirat(directory, name, Mode::RWXU) {
        // If the directory exists, another process has just created it. The caller checks its owner, as for any other
        // directory.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the components of a path without the root, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

fn bytes(bytes: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes)
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// Returns how another user can change a file or directory, as a text that completes "it …"; `None` if nobody can. If
/// `is_parent` is true, the sticky bit permits a directory that others can write to.
fn writable(stat: &Stat, is_parent: bool) -> Option<String> {
    // The type of the mode depends on the platform.
    #[allow(clippy::useless_conversion, reason = "16 bits on other platforms")]
    let mode = u32::from(stat.st_mode);
    let protected = is_parent && mode & STICKY != 0;
    let open = mode & WRITABLE != 0 && !protected;
    let writable = || format!("is writable for other users (mode {:o})", mode & 0o7777);
    foreign(stat).or_else(|| open.then(writable))
}

/// If neither this user nor root owns the file, returns a text that says so and completes "it …".
fn foreign(stat: &Stat) -> Option<String> {
    let this = rustix::process::geteuid().as_raw();
    let owner = stat.st_uid;
    (owner != this && owner != 0)
        .then(|| format!("belongs to the user {owner}, and this process runs as {this}"))
}

fn refusal(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {what}", path.display()))
}
