//! The library that has just been built, and compilers for programs that use it.

use std::{
    ffi::OsStr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

pub(crate) fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the libraries are: beside this test, where cargo puts them, or in `SIDESTEP_BUILT`, for those that are installed.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    std::env::var_os("SIDESTEP_BUILT").map_or_else(|| test.parent().unwrap().to_owned(), PathBuf::from)
}

/// Whether the libraries are those that are installed, and not a debug build's.
pub(crate) fn is_for_others() -> bool {
    std::env::var_os("SIDESTEP_BUILT").is_some()
}

pub(crate) fn shared_library() -> PathBuf {
    let library = built().join("libsidestep.so");
    assert!(library.is_file(), "{} is not there", library.display());
    library
}

/// The static library: cargo may put a hash into its name, and the newest is this build's.
pub(crate) fn static_library() -> PathBuf {
    let files = std::fs::read_dir(built()).unwrap().map(|entry| entry.unwrap().path());
    let archives = files.filter(|path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("libsidestep") && path.extension().is_some_and(|extension| extension == "a")
    });
    archives.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

/// A folder in which the loader finds it by its name.
pub(crate) fn loadable() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libsidestep.so", "libsidestep.so.0.1"] {
        symlink(shared_library(), dir.path().join(name)).unwrap();
    }
    dir
}

/// What every program is compiled with: anything to say is an error.
const STRICT: [&str; 8] =
    ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-g", "-O1"];

pub(crate) fn compile(compiler: &str, arguments: &[&str], source: &Path, to: &Path) {
    let mut command = Command::new(compiler);
    command.args(STRICT).arg("-I").arg(manifest_dir().join("include"));
    command.args(["-o".as_ref(), to.as_os_str(), source.as_os_str()]).args(arguments);
    succeed(&mut command);
}

/// Runs a command that has to succeed, and returns what it wrote.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn told(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}
