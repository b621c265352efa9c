//! The dynamic symbols and the hardening of the shared library.

use std::{fs, process::Command};

use crate::{
    declarations::functions,
    library::{shared_library, succeed},
};

pub(crate) fn the_shared_library_exports_exactly_the_functions_of_the_header() {
    let mut nm = Command::new("nm");
    let listed = succeed(nm.args(["-D", "--defined-only", "--format=posix"]).arg(shared_library()));
    let mut exported: Vec<_> =
        listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let mut declared: Vec<_> = functions().into_iter().map(|function| function.name).collect();
    exported.sort_unstable();
    declared.sort_unstable();
    assert_eq!(exported, declared);
}

pub(crate) fn the_shared_library_has_its_abi_in_its_name_and_stays_loaded() {
    let mut readelf = Command::new("readelf");
    let dynamic = succeed(readelf.arg("-d").arg(shared_library()));
    assert!(dynamic.contains("[libsidestep.so.0.1]"), "{dynamic}");
    let flags: Vec<_> = dynamic.lines().filter(|line| line.contains("FLAGS")).collect();
    assert!(flags.iter().any(|line| line.contains("NODELETE") && line.contains("NOW")), "{flags:?}");
}

/// Full RELRO, no page that is writable and executable, and no text relocations.
pub(crate) fn the_shared_library_is_hardened() {
    let readelf = |what: &str| succeed(Command::new("readelf").arg("-W").arg(what).arg(shared_library()));
    let segments = readelf("-l");
    let segment = |name: &str| segments.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    assert!(segment("GNU_STACK").contains(" RW "), "{segments}");
    assert!(segments.contains("GNU_RELRO") && !segments.contains(" RWE "), "{segments}");
    let dynamic = readelf("-d");
    assert!(dynamic.contains("BIND_NOW") && !dynamic.contains("TEXTREL"), "{dynamic}");
    assert!(!dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"), "{dynamic}");
}

/// The C code of the crypto library is compiled with the flags of `install.sh`.
pub(crate) fn the_c_code_in_the_shared_library_is_hardened() {
    let symbols = succeed(Command::new("readelf").args(["-W", "--dyn-syms"]).arg(shared_library()));
    assert!(symbols.contains("__stack_chk_fail") && symbols.contains("__memcpy_chk"), "{symbols}");
}

pub(crate) fn the_shared_library_contains_no_path_of_its_builder() {
    let home = format!("{}/", std::env::var("HOME").unwrap());
    let bytes = fs::read(shared_library()).unwrap();
    assert!(!bytes.windows(home.len()).any(|part| part == home.as_bytes()), "{home}");
}
