//! The texts that the public reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

/// The crates whose documentation and messages users read.
const CRATES: &[&str] =
    &["util", "xds-proto", "nds-client", "mesh-resolver", "mesh-connector", "mesh-sandbox", "ffi"];

const HEADERS: &[&str] = &["ffi/include/sidestep.h", "ffi/include/sidestep.hpp", "ffi/python/sidestep.py"];

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "ffi/README.md",
    "docs/stable-names.md",
];

/// All texts with their file, relative to `root`, and line.
pub(crate) fn lines(root: &Path) -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    for file in CRATES.iter().flat_map(|name| sources(&root.join(name).join("src"))) {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        let source = fs::read_to_string(&file).unwrap();
        lines.extend(rust(&source).into_iter().map(|(line, text)| (name.clone(), line, text)));
    }
    for name in HEADERS.iter().chain(PAGES) {
        let text = fs::read_to_string(root.join(name)).unwrap();
        let numbered = (1..).zip(text.lines());
        lines.extend(numbered.map(|(line, text)| ((*name).to_owned(), line, text.to_owned())));
    }
    lines
}

/// The one-line string literals of crates.
pub(crate) fn literals(root: &Path, crates: &[&str]) -> Vec<String> {
    let files = crates.iter().flat_map(|name| sources(&root.join(name).join("src")));
    let lines = files.flat_map(|file| rust(&fs::read_to_string(file).unwrap()));
    lines.map(|(_, text)| text).collect()
}

/// The Rust files below a folder, without tests and generated code.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "tests" | "testing" | "generated" | "fuzzing") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The doc comments and string literals of a source file. Code and ordinary comments are not among them.
pub(crate) fn rust(source: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    collect(source.parse().unwrap(), &mut lines);
    lines
}

fn collect(tokens: TokenStream, lines: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), lines),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.starts_with(['"', 'r']) {
                    let start = literal.span().start().line;
                    let text = text.trim_matches(['"', 'r', '#']).to_owned();
                    lines.extend((start..).zip(text.lines()).map(|(line, text)| (line, text.to_owned())));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}
