//! The library as it is installed: what is where, and that projects find it by pkg-config and by CMake.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::library::{manifest_dir, shared_library, static_library, succeed};

/// A scratch prefix with the library in it, and a small program beside it.
struct Installed {
    dir: TempDir,
}

impl Installed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("built");
        fs::create_dir(&built).unwrap();
        symlink(shared_library(), built.join("libsidestep.so")).unwrap();
        symlink(static_library(), built.join("libsidestep.a")).unwrap();
        let mut install = Command::new(manifest_dir().join("install.sh"));
        let said = succeed(install.arg("--prefix").arg(dir.path().join("prefix")).arg("--built").arg(&built));
        assert!(said.contains("bytes stripped, needs GLIBC_2."), "{said}");
        let program = "#include <stdio.h>\n#include <sidestep.h>\n\
            int main(void) { return puts(sidestep_version()) < 0 || sidestep_abi_version() != SIDESTEP_ABI_VERSION; }\n";
        fs::write(dir.path().join("program.c"), program).unwrap();
        Self { dir }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the package says to compile and link with.
    fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("sidestep").env("PKG_CONFIG_PATH", self.path("prefix/lib/pkgconfig"));
        succeed(&mut command).split_whitespace().map(str::to_owned).collect()
    }

    fn run(&self, program: &str) {
        let mut command = Command::new(self.path(program));
        let said = succeed(command.env("LD_LIBRARY_PATH", self.path("prefix/lib")));
        assert_eq!(said.trim(), env!("CARGO_PKG_VERSION"));
    }
}

pub(crate) fn a_project_finds_the_installed_library_by_pkg_config_and_by_cmake() {
    let installed = Installed::new();

    let flags = installed.pkg_config(&["--cflags", "--libs"]);
    let source = installed.path("program.c");
    succeed(Command::new("cc").arg("-o").arg(installed.path("by_pkg_config")).arg(&source).args(flags));
    installed.run("by_pkg_config");

    // Without the shared library: what the static one needs of the system is in the package.
    let mut flags = installed.pkg_config(&["--cflags", "--libs", "--static"]);
    flags
        .iter_mut()
        .filter(|flag| *flag == "-lsidestep")
        .for_each(|flag| *flag = "-l:libsidestep.a".to_owned());
    succeed(Command::new("cc").arg("-o").arg(installed.path("by_static")).arg(&source).args(flags));
    installed.run("by_static");

    let lists = "cmake_minimum_required(VERSION 3.16)\nproject(program C)\nfind_package(Sidestep 0.1 REQUIRED)\n\
        foreach(kind sidestep sidestep-static)\n  add_executable(by_cmake_${kind} program.c)\n  \
        target_link_libraries(by_cmake_${kind} PRIVATE Sidestep::${kind})\nendforeach()\n";
    fs::write(installed.path("CMakeLists.txt"), lists).unwrap();
    let (prefix, build) = (installed.path("prefix"), installed.path("build"));
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(installed.dir.path()).arg("-B").arg(&build);
    succeed(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
    succeed(Command::new("cmake").arg("--build").arg(&build));
    installed.run("build/by_cmake_sidestep");
    installed.run("build/by_cmake_sidestep-static");

    // Another minor version before 1.0 is another interface.
    fs::write(installed.path("CMakeLists.txt"), lists.replace("Sidestep 0.1", "Sidestep 0.2")).unwrap();
    let refused = configure.output().unwrap();
    assert!(!refused.status.success());
}
