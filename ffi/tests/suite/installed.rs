//! The library in a temporary prefix, where `install.sh` installed it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use tempfile::TempDir;

use crate::library::{manifest_dir, shared_library, static_library, succeed};

/// A program that prints the version of the library, and fails if the header has another version.
const PROGRAM: &str = "#include <stdio.h>\n#include <string.h>\n#include <sidestep.h>\n\
    int main(void) {\n    puts(sidestep_version());\n    \
    return sidestep_version_number() != SIDESTEP_VERSION_NUMBER || sidestep_abi_version() != SIDESTEP_ABI_VERSION ||\n        \
    strcmp(sidestep_version(), SIDESTEP_VERSION_STRING) != 0 ||\n        \
    SIDESTEP_VERSION_NUMBER != 1000000 * SIDESTEP_VERSION_MAJOR + 1000 * SIDESTEP_VERSION_MINOR + SIDESTEP_VERSION_PATCH;\n}\n";

/// An installed library, and a temporary directory with a small program.
pub(crate) struct Installed {
    dir: TempDir,
    prefix: PathBuf,
    libdir: PathBuf,
}

impl Installed {
    /// Returns the installation that all tests share, with a temporary directory for one test.
    pub(crate) fn shared() -> Self {
        static ONCE: Once = Once::new();
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        ONCE.call_once(|| {
            let dir = tempfile::tempdir().unwrap();
            let built = dir.path().join("built");
            fs::create_dir(&built).unwrap();
            symlink(shared_library(), built.join("libsidestep.so")).unwrap();
            symlink(static_library(), built.join("libsidestep.a")).unwrap();
            succeed(install(&prefix).arg("--built").arg(built));
        });
        Self::found(tempfile::tempdir().unwrap(), &prefix, &prefix.join("lib"))
    }

    /// Installs the library into a prefix and a library directory in a new temporary directory.
    pub(crate) fn new(prefix: &str, libdir: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (prefix, libdir) = (dir.path().join(prefix), dir.path().join(libdir));
        succeed(install(&prefix).arg("--libdir").arg(&libdir).arg("--built").arg(Self::shared().libdir()));
        Self::found(dir, &prefix, &libdir)
    }

    /// Returns a library that was installed by other means.
    pub(crate) fn found(dir: TempDir, prefix: &Path, libdir: &Path) -> Self {
        fs::write(dir.path().join("program.c"), PROGRAM).unwrap();
        Self { dir, prefix: prefix.to_owned(), libdir: libdir.to_owned() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn libdir(&self) -> &Path {
        &self.libdir
    }

    /// Renames the prefix within the temporary directory.
    pub(crate) fn move_to(&mut self, prefix: &str) {
        let to = self.path(prefix);
        fs::rename(&self.prefix, &to).unwrap();
        self.libdir = to.join(self.libdir.strip_prefix(&self.prefix).unwrap());
        self.prefix = to;
    }

    /// Returns the output of `pkg-config`, split into arguments. Paths may contain spaces.
    pub(crate) fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("sidestep").env("PKG_CONFIG_PATH", self.libdir.join("pkgconfig"));
        let said = succeed(&mut command);
        let words = said.trim().replace("\\ ", "\u{a0}");
        words.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('\u{a0}', " ")).collect()
    }

    /// Returns the compiler arguments for the static library.
    pub(crate) fn pkg_config_static(&self) -> Vec<String> {
        let flags = self.pkg_config(&["--cflags", "--libs", "--static"]).into_iter();
        flags.map(|flag| if flag == "-lsidestep" { "-l:libsidestep.a".to_owned() } else { flag }).collect()
    }

    /// Configures and builds a CMake project with this installation. Returns the build directory.
    pub(crate) fn cmake(&self, source: &Path, more: &[&str]) -> PathBuf {
        let build = self.path(format!("build{}", more.concat().replace(['/', '='], "_")));
        succeed(self.configure(source, &build).args(more));
        succeed(Command::new("cmake").arg("--build").arg(&build));
        build
    }

    pub(crate) fn configure(&self, source: &Path, build: &Path) -> Command {
        let mut command = Command::new("cmake");
        command.arg("-S").arg(source).arg("-B").arg(build);
        command.arg(format!("-DCMAKE_PREFIX_PATH={}", self.prefix.display()));
        // CMake does not search Debian's library directory on other systems.
        command.arg(format!("-DSidestep_DIR={}", self.libdir.join("cmake/Sidestep").display()));
        command
    }

    /// Runs a program with the installed library.
    pub(crate) fn run(&self, program: impl AsRef<Path>, arguments: &[&Path]) -> String {
        let mut command = Command::new(self.path(program));
        succeed(command.args(arguments).env("LD_LIBRARY_PATH", &self.libdir))
    }

    /// Compiles and runs `program.c`, and checks the version that it prints.
    pub(crate) fn compile_and_run(&self, compiler: &str, flags: &[String]) {
        let program = self.path("program");
        let mut command = Command::new(compiler);
        succeed(command.arg("-o").arg(&program).arg(self.path("program.c")).args(flags));
        assert_eq!(self.run(program, &[]).trim(), env!("CARGO_PKG_VERSION"));
    }
}

pub(crate) fn install(prefix: &Path) -> Command {
    let mut command = Command::new(manifest_dir().join("install.sh"));
    command.arg("--prefix").arg(prefix);
    command
}
