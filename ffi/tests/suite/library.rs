//! The library under test, and the compilers for programs that use it.

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

/// Returns the directory of the libraries: the value of `SIDESTEP_BUILT`, or cargo's directory, which contains this test.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    std::env::var_os("SIDESTEP_BUILT").map_or_else(|| test.parent().unwrap().to_owned(), PathBuf::from)
}

/// Whether the libraries under test are a release build of `install.sh`.
pub(crate) fn is_release() -> bool {
    std::env::var_os("SIDESTEP_BUILT").is_some()
}

pub(crate) fn shared_library() -> PathBuf {
    let library = built().join("libsidestep.so");
    assert!(library.is_file(), "{} does not exist", library.display());
    library
}

/// Returns the static library. Cargo may add a hash to its name, so the newest file is the one of this build.
pub(crate) fn static_library() -> PathBuf {
    let files = std::fs::read_dir(built()).unwrap().map(|entry| entry.unwrap().path());
    let archives = files.filter(|path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("libsidestep") && path.extension().is_some_and(|extension| extension == "a")
    });
    archives.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

/// Creates a directory in which the loader finds the shared library by its name.
pub(crate) fn loadable() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libsidestep.so", "libsidestep.so.0.1"] {
        symlink(shared_library(), dir.path().join(name)).unwrap();
    }
    dir
}

/// The options for every program. Warnings are errors.
const STRICT: [&str; 8] =
    ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-g", "-O1"];

/// Adds the options for every program.
pub(crate) fn strict(command: &mut Command) -> &mut Command {
    command.args(STRICT).arg("-I").arg(manifest_dir().join("include"))
}

pub(crate) fn compile(compiler: &str, arguments: &[&str], source: &Path, to: &Path) {
    let mut command = Command::new(compiler);
    strict(&mut command);
    command.args(["-o".as_ref(), to.as_os_str(), source.as_os_str()]).args(arguments);
    succeed(&mut command);
}

/// Runs a command that must succeed, and returns its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", report(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the exit status and the output of a command.
pub(crate) fn report(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}
