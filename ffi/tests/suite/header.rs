//! The header is the crate's: made from it, and clean for every compiler that includes it.

use std::{fs, path::Path};

use crate::library::{compile, manifest_dir};

/// What a reader wants to know first comes first.
const READING_ORDER: [&str; 21] = [
    "version",
    "status",
    "error",
    "text",
    "log",
    "settings",
    "mesh",
    "connect",
    "connection",
    "stream",
    "getaddrinfo",
    "addresses",
    "completion",
    "queue",
    "queue/start",
    "bridge",
    "bridge/listen",
    "bridge/lookup",
    "dns",
    "explain",
    "metrics",
];

pub(crate) fn the_header_is_what_the_crate_says() {
    let file = manifest_dir().join("include/sidestep.h");
    let config = cbindgen::Config::from_file(manifest_dir().join("cbindgen.toml")).unwrap();
    let sources = READING_ORDER.map(|module| manifest_dir().join(format!("src/{module}.rs")));
    let builder = sources
        .iter()
        .fold(cbindgen::Builder::new().with_config(config), |builder, source| builder.with_src(source));
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    if std::env::var_os("SIDESTEP_REGENERATE").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert!(
        made == kept,
        "include/sidestep.h is old: SIDESTEP_REGENERATE=1 cargo test -p sidestep-ffi --test suite header"
    );
}

pub(crate) fn every_exported_function_is_in_the_header() {
    let header = fs::read_to_string(manifest_dir().join("include/sidestep.h")).unwrap();
    let mut count = 0;
    for source in sources(&manifest_dir().join("src")) {
        let text = fs::read_to_string(&source).unwrap();
        for (_, rest) in
            text.match_indices("extern \"C\" fn sidestep_").map(|(at, what)| text[at..].split_at(what.len()))
        {
            let name = rest.split('(').next().unwrap();
            assert!(header.contains(&format!("sidestep_{name}(")), "sidestep_{name} of {}", source.display());
            count += 1;
        }
    }
    assert!(count > 40, "only {count} functions");
}

pub(crate) fn c_and_cpp_compilers_have_nothing_to_say_about_the_header() {
    let dir = tempfile::tempdir().unwrap();
    for (compiler, standard, name) in
        [("cc", "c99", "a.c"), ("cc", "c11", "b.c"), ("cc", "c2x", "c.c"), ("c++", "c++17", "d.cc")]
    {
        let source = dir.path().join(name);
        fs::write(&source, "#include <sidestep.h>\nint main(void) { return sidestep_errno(SIDESTEP_OK); }\n")
            .unwrap();
        // `struct addrinfo` is POSIX's, which the plain standards hide.
        let standard = format!("-std={standard}");
        compile(
            compiler,
            &[&standard, "-D_POSIX_C_SOURCE=200809L", "-c"],
            &source,
            &dir.path().join("out.o"),
        );
    }
}

fn sources(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
