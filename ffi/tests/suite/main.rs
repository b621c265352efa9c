//! libsidestep as C programs see it: the header, the exported symbols, and programs that are compiled against the library
//! that has just been built and run beside a mesh in this process (`mesh-sandbox`).
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
mod header;
mod library;
mod needs;
mod package;
mod programs;
mod symbols;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use self::needs::Needs;

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
    programs::every_program_is_run(),
    programs::sanitized_programs_have_the_sanitizer_in_them("cc", "nm"),
    symbols::the_shared_library_exports_the_functions_of_the_header_and_nothing_else("nm"),
    symbols::the_shared_library_has_its_abi_in_its_name_and_stays_loaded("readelf"),
];

fn main() -> ExitCode {
    let mut needs = Needs::default();
    let tests = ALL.iter().map(|(name, needed, test)| (*name, *needed, *test));
    let mut trials: Vec<_> =
        tests.map(|(name, needed, test)| needs.trial(name.to_owned(), needed, test)).collect();
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
