//! What the shared library shows to the program that loads it.

use std::{fs, process::Command};

use crate::library::{manifest_dir, shared_library, succeed};

pub(crate) fn the_shared_library_exports_the_functions_of_the_header_and_nothing_else() {
    let mut nm = Command::new("nm");
    let listed = succeed(nm.args(["-D", "--defined-only", "--format=posix"]).arg(shared_library()));
    let mut exported: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let header = fs::read_to_string(manifest_dir().join("include/sidestep.h")).unwrap();
    let code = header.split("*/").map(|part| part.split("/*").next().unwrap()).collect::<String>();
    let mut declared: Vec<_> = code
        .match_indices("sidestep_")
        .map(|(at, _)| code[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap())
        .filter(|name| code.contains(&format!("{name}(")))
        .collect();
    for names in [&mut exported, &mut declared] {
        names.sort_unstable();
        names.dedup();
    }
    assert_eq!(exported, declared);
}

pub(crate) fn the_shared_library_has_its_abi_in_its_name_and_stays_loaded() {
    let mut readelf = Command::new("readelf");
    let dynamic = succeed(readelf.arg("-d").arg(shared_library()));
    assert!(dynamic.contains("[libsidestep.so.0.1]"), "{dynamic}");
    let flags: Vec<_> = dynamic.lines().filter(|line| line.contains("FLAGS")).collect();
    assert!(flags.iter().any(|line| line.contains("NODELETE") && line.contains("NOW")), "{flags:?}");
}

/// Nothing that the loader has filled in can be written afterwards, no page is both written and run, and the code needs no
/// change where it is loaded.
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

/// The crypto library's C, by the flags of `install.sh`.
pub(crate) fn the_c_code_in_the_shared_library_is_hardened() {
    let symbols = succeed(Command::new("readelf").args(["-W", "--dyn-syms"]).arg(shared_library()));
    assert!(symbols.contains("__stack_chk_fail") && symbols.contains("__memcpy_chk"), "{symbols}");
}

/// Where it was built, and by whom, is nobody's business.
pub(crate) fn no_path_of_the_builder_is_in_the_shared_library() {
    let home = format!("{}/", std::env::var("HOME").unwrap());
    let bytes = fs::read(shared_library()).unwrap();
    assert!(!bytes.windows(home.len()).any(|part| part == home.as_bytes()), "{home}");
}
