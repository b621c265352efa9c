//! The installed library: its files, how projects find it by pkg-config and CMake, and the error messages of `install.sh`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use mesh_tests::machine::has_program;

use crate::{
    installed::{Installed, install},
    library::{manifest_dir, report, succeed},
};

const LISTS: &str = "cmake_minimum_required(VERSION 3.16)\nproject(program C)\nfind_package(Sidestep 0.1 REQUIRED)\n\
    message(STATUS \"found ${Sidestep_VERSION}.\")\n\
    foreach(kind sidestep sidestep-static)\n  add_executable(by_cmake_${kind} program.c)\n  \
    target_link_libraries(by_cmake_${kind} PRIVATE Sidestep::${kind})\nendforeach()\n";

/// The prefix is renamed after the installation, because its files must not contain its path.
pub(crate) fn a_project_finds_the_installed_library_by_pkg_config_and_by_cmake() {
    let mut installed = Installed::new("a prefix", "a prefix/lib/some-triplet");
    installed.move_to("another prefix");
    installed.compile_and_run("cc", &installed.pkg_config(&["--cflags", "--libs"]));
    // The static library: pkg-config names the system libraries that it needs.
    installed.compile_and_run("cc", &installed.pkg_config_static());

    fs::write(installed.path("CMakeLists.txt"), LISTS).unwrap();
    let project = installed.path("");
    for program in ["by_cmake_sidestep", "by_cmake_sidestep-static"] {
        let built = installed.cmake(&project, &[]).join(program);
        assert_eq!(installed.run(built, &[]).trim(), env!("CARGO_PKG_VERSION"));
    }

    // Before 1.0, another minor version is another ABI.
    fs::write(installed.path("CMakeLists.txt"), LISTS.replace("Sidestep 0.1", "Sidestep 0.2")).unwrap();
    let refused = installed.configure(&project, &installed.path("refused")).output().unwrap();
    assert!(!refused.status.success() && report(&refused).contains("version: 0.1.0"), "{}", report(&refused));
}

/// `debian` checks the versions of the Debian packages.
pub(crate) fn header_library_and_package_files_have_the_same_version() {
    let installed = Installed::shared();
    let version = env!("CARGO_PKG_VERSION");
    installed.compile_and_run("cc", &installed.pkg_config(&["--cflags", "--libs"]));
    assert_eq!(installed.pkg_config(&["--modversion"]), [version]);

    fs::write(installed.path("CMakeLists.txt"), LISTS).unwrap();
    let said = succeed(&mut installed.configure(&installed.path(""), &installed.path("build")));
    assert!(said.contains(&format!("found {version}.")), "{said}");

    let (abi, _) = version.rsplit_once('.').unwrap();
    let by_abi = format!("libsidestep.so.{abi}");
    let link =
        |name: &str| fs::read_link(installed.libdir().join(name)).unwrap().into_os_string().into_string();
    assert_eq!(link(&by_abi).unwrap(), format!("libsidestep.so.{version}"));
    assert_eq!(link("libsidestep.so").unwrap(), by_abi);
    let library = installed.libdir().join("libsidestep.so");
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(library));
    assert!(dynamic.contains(&format!("[{by_abi}]")), "{dynamic}");
}

pub(crate) fn an_installation_replaces_an_older_one_and_uninstalling_removes_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, prefix) = (Installed::shared(), dir.path().join("prefix"));
    let lib = prefix.join("lib");
    fs::create_dir_all(&lib).unwrap();
    fs::write(lib.join("libsidestep.so.0.1.999"), "an older version").unwrap();
    fs::write(lib.join("libsidestep.so.0.0"), "another ABI").unwrap();

    // A relative prefix is relative to the current directory of the caller.
    for _ in 0..2 {
        let said =
            succeed(install(Path::new("prefix")).current_dir(dir.path()).arg("--built").arg(shared.libdir()));
        let size = fs::metadata(lib.join("libsidestep.so")).unwrap().len();
        assert!(
            said.contains(&format!(
                "{}, {size} bytes stripped, needs glibc 2.",
                lib.join("libsidestep.so").display()
            )),
            "{said}"
        );
    }
    assert!(!lib.join("libsidestep.so.0.1.999").exists());

    succeed(install(&prefix).arg("--uninstall"));
    let left = succeed(Command::new("find").arg(&prefix).args(["-not", "-type", "d"]));
    assert_eq!(left.trim(), lib.join("libsidestep.so.0.0").to_str().unwrap());
}

pub(crate) fn install_sh_reports_errors_in_one_line_before_it_builds() {
    let dir = tempfile::tempdir().unwrap();
    let (file, prefix) = (dir.path().join("file"), dir.path().join("prefix"));
    fs::write(&file, "").unwrap();
    // A PATH that contains only a shell and the tools that the script uses first.
    let tools = dir.path().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["bash", "dirname", "env", "realpath", "sed"] {
        let path = succeed(Command::new("sh").arg("-c").arg(format!("command -v {tool}")));
        symlink(path.trim(), tools.join(tool)).unwrap();
    }

    let mut bare = install(&prefix);
    bare.env("PATH", &tools).env_remove("CC");
    let mut below_a_file = install(&file.join("prefix"));
    let mut not_built = install(&prefix);
    not_built.arg("--built").arg(dir.path());
    let mut unknown = install(&prefix);
    unknown.arg("--static");
    let mut without_value = install(&prefix);
    without_value.arg("--libdir");
    for (command, message) in [
        (
            &mut bare,
            "missing: ar (binutils), ld.bfd (binutils), objcopy (binutils), objdump (binutils), strip (binutils), \
             cargo (https://rustup.rs), cc (a C compiler)",
        ),
        (&mut below_a_file, "cannot write to"),
        (&mut not_built, "libsidestep.so does not exist in"),
        (&mut unknown, "unknown option --static"),
        (&mut without_value, "--libdir needs a directory"),
    ] {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().last().unwrap_or_default();
        assert!(!output.status.success() && last.starts_with(&format!("install.sh: {message}")), "{said}");
        assert!(output.stdout.is_empty() && !prefix.exists(), "{command:?}");
    }
    let help = succeed(Command::new(manifest_dir().join("install.sh")).arg("--help"));
    assert!(help.contains("--destdir DIR") && !help.contains("set -e"), "{help}");
}

/// Another static Rust library contains the same standard library, with the same symbols.
pub(crate) fn the_static_library_links_with_another_rust_library() {
    let installed = Installed::shared();
    let archive = installed.libdir().join("libsidestep.a");
    let symbols = succeed(Command::new("nm").args(["-g", "--defined-only", "--format=posix"]).arg(&archive));
    let foreign = symbols.lines().filter(|line| line.contains(' ') && !line.starts_with("sidestep_"));
    assert_eq!(foreign.collect::<Vec<_>>(), [""; 0]);
    assert!(symbols.contains("sidestep_connect T"), "{symbols}");

    let other = "#[unsafe(no_mangle)]\npub extern \"C\" fn caught() -> bool {\n    \
        std::panic::catch_unwind(|| std::env::args().nth(9).unwrap()).is_err()\n}\n";
    fs::write(installed.path("other.rs"), other).unwrap();
    let said = rustc(&installed, &["--crate-type=staticlib", "--print=native-static-libs", "other.rs"]);
    // pkg-config must name the libraries that Rust's standard library needs.
    let needed = installed.pkg_config(&["--libs-only-l", "--static"]).join(" ");
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.contains(&format!("native-static-libs: {}\n", needed.replace("-lsidestep ", ""))),
        "{said}\n{needed}"
    );

    let program = "#include <stdbool.h>\n#include <sidestep.h>\nbool caught(void);\n\
        int main(void) {\n    sidestep_mesh *mesh;\n    \
        return !caught() || sidestep_join_vm_files(\"/nowhere\", &mesh, NULL) == SIDESTEP_OK;\n}\n";
    fs::write(installed.path("both.c"), program).unwrap();
    for compiler in ["cc", "clang"].into_iter().filter(|compiler| has_program(compiler)) {
        // Link all objects of both libraries, including those that nothing refers to.
        let mut link = Command::new(compiler);
        link.current_dir(installed.path("")).args([
            "-o",
            "both",
            "both.c",
            "-Wl,--whole-archive",
            "libother.a",
        ]);
        link.arg(&archive).arg("-Wl,--no-whole-archive").args(installed.pkg_config_static());
        succeed(&mut link);
        installed.run("both", &[]);
    }
}

fn rustc(installed: &Installed, arguments: &[&str]) -> Output {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let output =
        rustc.arg("--edition=2024").args(arguments).current_dir(installed.path("")).output().unwrap();
    assert!(output.status.success(), "{}", report(&output));
    output
}
