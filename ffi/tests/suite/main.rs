//! libsidestep as C programs see it: the header, the exported symbols, and programs that are compiled against the library
//! that has just been built and run beside a mesh in this process (`mesh-sandbox`).
//!
//! `SIDESTEP_BUILT=FOLDER` takes other libraries than those beside the tests: the ones that `install.sh` has built.
//!
//! What a test needs of the machine stands behind its name. Where that is missing the test is ignored, unless
//! `SIDESTEP_PEERS=required` makes it a failure.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod arguments;
mod debian;
mod header;
mod installed;
mod library;
mod needs;
mod package;
mod programs;
mod projects;
mod symbols;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::needs::Needs;

const DESCRIPTORS: u64 = 80_000;

/// A test: what it needs of the machine, and what it does.
type Test = (&'static str, &'static [&'static str], fn());

/// Names the functions of a module as tests, each with its needs.
macro_rules! tests {
    ($($module:ident::$name:ident($($need:literal),*)),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), &[$($need),*], $module::$name)),*]
    };
}

const ALL: &[Test] = &tests![
    header::the_header_is_what_the_crate_says(),
    header::every_exported_function_is_in_the_header(),
    header::c_and_cpp_compilers_have_nothing_to_say_about_the_header("cc", "c++"),
    package::a_project_finds_the_installed_library_by_pkg_config_and_by_cmake("cc", "cmake", "pkg-config"),
    package::the_version_is_the_same_everywhere("cc", "cmake", "pkg-config", "readelf"),
    package::a_newer_library_takes_the_place_of_an_older_one_and_uninstalling_leaves_nothing("cc"),
    package::what_cannot_succeed_is_said_in_one_line_before_anything_is_built(),
    package::the_static_library_goes_with_another_one_that_is_written_in_rust("cc", "nm", "pkg-config"),
    programs::every_program_is_run(),
    programs::sanitized_programs_have_the_sanitizer_in_them("cc", "nm"),
    projects::the_examples_are_built_by_cmake_and_run("cc", "c++", "cmake", "pkg-config"),
    projects::the_examples_are_built_by_pkg_config_and_run("cc", "c++", "pkg-config"),
    projects::every_example_in_c_is_in_the_project(),
    symbols::the_shared_library_exports_the_functions_of_the_header_and_nothing_else("nm"),
    symbols::the_shared_library_is_hardened("readelf"),
    symbols::the_shared_library_has_its_abi_in_its_name_and_stays_loaded("readelf"),
];

/// What holds for the library that is installed alone, and not for a debug build.
const OF_THE_INSTALLED: &[Test] = &tests![
    debian::a_c_program_needs_the_packages_alone(
        "cc",
        "cmake",
        "dpkg-architecture",
        "dpkg-shlibdeps",
        "pkg-config"
    ),
    symbols::the_c_code_in_the_shared_library_is_hardened("readelf"),
    symbols::no_path_of_the_builder_is_in_the_shared_library(),
];

/// The mesh is in this process, and takes four descriptors for each of a program's connections, of which there are ten
/// thousand at a time. Where it may not have them, the programs have fewer connections.
fn make_room() {
    let limit = getrlimit(Resource::Nofile);
    let more = |maximum| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let raised = if limit.maximum.is_none_or(|maximum| maximum > DESCRIPTORS) {
        more(limit.maximum)
    } else {
        more(Some(DESCRIPTORS))
    };
    if raised.is_err() {
        let _ = more(limit.maximum);
    }
}

fn main() -> ExitCode {
    make_room();
    let mut needs = Needs::default();
    let tests = ALL.iter().map(|(name, needed, test)| (*name, *needed, *test));
    let mut trials: Vec<_> =
        tests.map(|(name, needed, test)| needs.trial(name.to_owned(), needed, test)).collect();
    for (name, needed, test) in OF_THE_INSTALLED {
        let trial = needs.trial((*name).to_owned(), needed, test);
        trials.push(if library::is_for_others() { trial } else { trial.with_ignored_flag(true) });
    }
    trials.extend(programs::trials(&mut needs));
    trials.push(Trial::test("every_test_is_listed", || {
        every_test_is_listed();
        Ok(())
    }));
    needs.say();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Under a harness of one's own an attribute makes no test.
fn every_test_is_listed() {
    let folder = library::manifest_dir().join("tests/suite");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let attribute = concat!("#[", "test]");
        let unlisted = std::fs::read_to_string(&path).unwrap().contains(attribute);
        assert!(!unlisted, "{}: tests are functions that main.rs lists, without {attribute}", path.display());
    }
}
