//! The library as it is installed: what is where, that projects find it by pkg-config and by CMake, and what is said where
//! it cannot be installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use mesh_tests::machine::has_program;

use crate::{
    installed::{Installed, install},
    library::{manifest_dir, succeed, told},
};

const LISTS: &str = "cmake_minimum_required(VERSION 3.16)\nproject(program C)\nfind_package(Sidestep 0.1 REQUIRED)\n\
    message(STATUS \"found ${Sidestep_VERSION}.\")\n\
    foreach(kind sidestep sidestep-static)\n  add_executable(by_cmake_${kind} program.c)\n  \
    target_link_libraries(by_cmake_${kind} PRIVATE Sidestep::${kind})\nendforeach()\n";

/// The folder is moved after the installation: nothing in it knows where it was.
pub(crate) fn a_project_finds_the_installed_library_by_pkg_config_and_by_cmake() {
    let mut installed = Installed::new("a prefix", "a prefix/lib/some-triplet");
    installed.move_to("another prefix");
    installed.compile_and_run("cc", &installed.pkg_config(&["--cflags", "--libs"]));
    // Without the shared library: what the static one needs of the system is in the package.
    installed.compile_and_run("cc", &installed.pkg_config_static());

    fs::write(installed.path("CMakeLists.txt"), LISTS).unwrap();
    let project = installed.path("");
    for program in ["by_cmake_sidestep", "by_cmake_sidestep-static"] {
        let built = installed.cmake(&project, &[]).join(program);
        assert_eq!(installed.run(built, &[]).trim(), env!("CARGO_PKG_VERSION"));
    }

    // Another minor version before 1.0 is another interface.
    fs::write(installed.path("CMakeLists.txt"), LISTS.replace("Sidestep 0.1", "Sidestep 0.2")).unwrap();
    let refused = installed.configure(&project, &installed.path("refused")).output().unwrap();
    assert!(!refused.status.success() && told(&refused).contains("version: 0.1.0"), "{}", told(&refused));
}

/// The program compares header and library; these are the others that have it. `debian` compares the packages.
pub(crate) fn the_version_is_the_same_everywhere() {
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

pub(crate) fn a_newer_library_takes_the_place_of_an_older_one_and_uninstalling_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, prefix) = (Installed::shared(), dir.path().join("prefix"));
    let lib = prefix.join("lib");
    fs::create_dir_all(&lib).unwrap();
    fs::write(lib.join("libsidestep.so.0.1.999"), "an older one").unwrap();
    fs::write(lib.join("libsidestep.so.0.0"), "of another interface").unwrap();

    // A relative prefix is one of the caller's folder.
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

pub(crate) fn what_cannot_succeed_is_said_in_one_line_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let (file, prefix) = (dir.path().join("file"), dir.path().join("prefix"));
    fs::write(&file, "").unwrap();
    // A machine that has a shell and no more.
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
        (&mut not_built, "there is no libsidestep.so in"),
        (&mut unknown, "there is no option --static"),
        (&mut without_value, "--libdir needs a folder"),
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

/// Another Rust library has the same standard library in it, by the same names.
pub(crate) fn the_static_library_goes_with_another_one_that_is_written_in_rust() {
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
    // What Rust's standard library needs, and the package says.
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
        // All of both, also what nobody calls.
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
    assert!(output.status.success(), "{}", told(&output));
    output
}
