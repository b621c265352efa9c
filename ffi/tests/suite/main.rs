//! Tests of libsidestep from the view of C programs: the header, the exported symbols, and C programs that are compiled
//! with the library and run with a mesh in this process (`mesh-sandbox`).
//!
//! `SIDESTEP_BUILT=DIRECTORY` selects the libraries that `install.sh` has built, instead of those that cargo has built.
//!
//! The arguments after the name of a test are the programs and libraries that it requires. The test is ignored if one
//! of them is missing. With `SIDESTEP_PEERS=required` it fails instead.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot continue fails"
)]

mod abi;
mod arguments;
mod debian;
mod declarations;
mod header;
mod installed;
mod library;
mod licenses;
mod package;
mod programs;
mod projects;
mod requirements;
mod symbols;
mod test_mesh;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::requirements::Requirements;

const DESCRIPTORS: u64 = 80_000;

/// A test: its name, its requirements, and its function.
type Test = (&'static str, &'static [&'static str], fn());

/// Lists functions of modules as tests, each with its requirements.
macro_rules! tests {
    ($($module:ident::$name:ident($($requirement:literal),*)),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), &[$($requirement),*], $module::$name)),*]
    };
}

const ALL: &[Test] = &tests![
    header::the_header_equals_the_header_that_the_crate_generates(),
    header::every_exported_function_is_in_the_header(),
    header::every_status_code_is_returned_by_some_function(),
    header::every_function_that_returns_a_status_is_marked_must_use(),
    header::c_and_cpp_compilers_accept_the_header_without_warnings("cc", "c++"),
    header::the_compiler_warns_of_unused_results_and_of_deprecated_functions("cc"),
    abi::nothing_is_removed_or_changed_within_an_abi_version(),
    abi::removed_changed_and_new_declarations_are_detected(),
    licenses::every_package_in_the_library_has_its_licence_text_and_copyright("cc"),
    package::a_project_finds_the_installed_library_by_pkg_config_and_by_cmake("cc", "cmake", "pkg-config"),
    package::header_library_and_package_files_have_the_same_version("cc", "cmake", "pkg-config", "readelf"),
    package::an_installation_replaces_an_older_one_and_uninstalling_removes_every_file("cc"),
    package::install_sh_reports_errors_in_one_line_before_it_builds(),
    package::the_static_library_links_with_another_rust_library("cc", "nm", "pkg-config"),
    programs::every_program_is_run(),
    programs::sanitized_programs_contain_the_sanitizer("cc", "nm"),
    projects::the_examples_are_built_by_cmake_and_run("cc", "c++", "cmake", "pkg-config"),
    projects::the_examples_are_built_by_pkg_config_and_run("cc", "c++", "pkg-config"),
    projects::every_example_in_c_is_in_the_project(),
    symbols::the_shared_library_exports_exactly_the_functions_of_the_header("nm"),
    symbols::the_shared_library_is_hardened("readelf"),
    symbols::the_shared_library_has_its_abi_in_its_name_and_stays_loaded("readelf"),
];

/// The tests of a release build.
const OF_THE_RELEASE: &[Test] = &tests![
    debian::a_c_program_needs_only_the_packages(
        "cc",
        "cmake",
        "dpkg-architecture",
        "dpkg-shlibdeps",
        "pkg-config"
    ),
    symbols::the_c_code_in_the_shared_library_is_hardened("readelf"),
    symbols::the_shared_library_contains_no_path_of_its_builder(),
];

/// Raises the limit of descriptors. The mesh in this process needs four descriptors for each connection of a program, and a
/// program has up to ten thousand connections. With a lower limit, the program opens fewer connections.
fn raise_descriptor_limit() {
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
    raise_descriptor_limit();
    if std::env::var_os("SIDESTEP_REGENERATE").is_some() {
        // Before the tests, which run in parallel and read the header.
        header::the_header_equals_the_header_that_the_crate_generates();
        abi::nothing_is_removed_or_changed_within_an_abi_version();
    }
    let mut requirements = Requirements::default();
    let tests = ALL.iter().map(|(name, required, test)| (*name, *required, *test));
    let mut trials: Vec<_> =
        tests.map(|(name, required, test)| requirements.trial(name.to_owned(), required, test)).collect();
    for (name, required, test) in OF_THE_RELEASE {
        let trial = requirements.trial((*name).to_owned(), required, test);
        trials.push(if library::is_release() { trial } else { trial.with_ignored_flag(true) });
    }
    trials.extend(programs::trials(&mut requirements));
    trials.push(Trial::test("every_test_is_listed", || {
        every_test_is_listed();
        Ok(())
    }));
    requirements.report();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Checks that no function has the attribute for tests, which a custom harness ignores.
fn every_test_is_listed() {
    let folder = library::manifest_dir().join("tests/suite");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let attribute = concat!("#[", "test]");
        let unlisted = std::fs::read_to_string(&path).unwrap().contains(attribute);
        assert!(!unlisted, "{}: list the test in main.rs instead of using {attribute}", path.display());
    }
}
