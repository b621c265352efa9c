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
