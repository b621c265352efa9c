//! The Debian packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    installed::Installed,
    library::{manifest_dir, succeed},
};

/// Builds both packages. Returns the runtime package and the development package.
fn packages(dir: &Path) -> (PathBuf, PathBuf) {
    let mut script = Command::new(manifest_dir().join("debian.sh"));
    let said = succeed(script.arg("--built").arg(Installed::shared().libdir()).arg(dir.join("packages")));
    let mut packages = said.lines().filter(|line| line.ends_with(".deb")).map(PathBuf::from);
    (packages.next().unwrap(), packages.next().unwrap())
}

fn field(package: &Path, name: &str) -> String {
    succeed(Command::new("dpkg-deb").arg("--field").arg(package).arg(name)).trim().to_owned()
}

/// Returns a `dpkg` command for an empty system in the directory `root`.
fn dpkg(root: &Path) -> Command {
    let mut command = Command::new("dpkg");
    command.arg(format!("--root={}", root.display())).args(["--force-not-root", "--force-bad-path"]);
    // The empty system has no C library.
    command.args(["--force-depends", "--log=/dev/null"]);
    command
}

pub(crate) fn a_c_program_needs_only_the_packages() {
    let dir = tempfile::tempdir().unwrap();
    let (runtime, dev) = packages(dir.path());
    let (version, root) = (env!("CARGO_PKG_VERSION"), dir.path().join("root"));
    let (abi, _) = version.rsplit_once('.').unwrap();

    let name = format!("libsidestep{abi}");
    assert_eq!([field(&runtime, "Package"), field(&runtime, "Version")], [&*name, version]);
    assert_eq!([field(&dev, "Package"), field(&dev, "Version")], ["libsidestep-dev", version]);
    let depends = field(&runtime, "Depends");
    assert!(depends.contains("libc6 (>= 2.") && depends.contains("libgcc-s1"), "{depends}");
    let depends = field(&dev, "Depends");
    assert!(depends.contains(&format!("{name} (= {version})")), "{depends}");
    let shlibs = succeed(Command::new("dpkg-deb").arg("--info").arg(&runtime).arg("shlibs"));
    assert_eq!(shlibs.trim(), format!("libsidestep {abi} {name} (>= {version})"));

    for folder in ["updates", "info"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    succeed(dpkg(&root).arg("--install").args([&runtime, &dev]));
    // Every file has the checksum in the package.
    assert_eq!(succeed(dpkg(&root).arg("--verify")), "");

    let triplet = succeed(Command::new("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"));
    let installed = Installed::found(dir, &root.join("usr"), &root.join("usr/lib").join(triplet.trim()));
    installed.compile_and_run("cc", &installed.pkg_config(&["--cflags", "--libs"]));
    installed.compile_and_run("cc", &installed.pkg_config_static());
    let build = installed.cmake(&root.join("usr/share/doc/libsidestep-dev/examples"), &[]);
    assert!(build.join("blocking").is_file());

    for package in [&*name, "libsidestep-dev"] {
        assert!(root.join("usr/share/doc").join(package).join("THIRD-PARTY-LICENSES").is_file(), "{package}");
    }
    succeed(dpkg(&root).args(["--purge", "libsidestep-dev", &name]));
    assert!(!root.join("usr").exists());
}
