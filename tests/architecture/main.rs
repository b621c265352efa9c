//! Architecture rules that the compiler does not enforce, checked on the sources of all crates.
//!
//! Modules of one folder must not import each other in a cycle, directly or indirectly. A folder counts as one module;
//! imports between a module and its children are allowed. The check includes declarations (`use`), paths and
//! re-exports, also in macros and behind features, and excludes tests and documentation.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failed setup fails the test")]

#[cfg(test)]
mod fixtures;
mod imports;
mod resolution;
mod source;
mod tree;
mod waits;
mod workspace;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use self::{imports::Imports, tree::Tree, workspace::Crate};

/// Returns the module trees of all targets of a crate. Paths are relative to the workspace at `root`.
fn trees(root: &Path, package: &Crate) -> Vec<Tree> {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let trees =
        package.roots.iter().map(|file| Tree::parse(file.strip_prefix(root).unwrap(), &read).unwrap());
    trees.collect()
}

#[test]
fn no_crate_has_a_module_cycle() {
    let (root, crates) = workspace::crates();
    let mut table = format!("{:<16}{:>8}{:>9}{:>8}\n", "crate", "modules", "imports", "cycles");
    let mut failures = Vec::new();
    for package in &crates {
        let (mut modules, mut imports, mut cycles) = (0, 0, Vec::new());
        for tree in trees(&root, package) {
            let found = Imports::of(&tree);
            modules += tree.modules.len();
            imports += found.len();
            cycles.extend(found.cycles(&tree).iter().map(|cycle| format!("{}: {cycle}", package.name)));
        }
        table += &format!("{:<16}{modules:>8}{imports:>9}{:>8}\n", package.name, cycles.len());
        failures.extend(cycles);
    }
    // Written to stdout directly, because the harness shows captured output only for failed tests.
    io::stdout().write_all(format!("\n{table}\n").as_bytes()).unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

/// A module that only a macro declares would be missed.
#[test]
fn every_source_file_belongs_to_a_known_module() {
    let (root, crates) = workspace::crates();
    for package in &crates {
        let trees = trees(&root, package);
        for file in package.files() {
            let file = file.strip_prefix(&root).unwrap();
            assert!(trees.iter().any(|tree| tree.has_file(file)), "no module declares {}", file.display());
        }
    }
}

/// Crates and tests must wait for events.
#[test]
fn nothing_polls_or_spins() {
    let (root, crates) = workspace::crates();
    let mut found = Vec::new();
    for file in crates.iter().flat_map(Crate::files) {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(&root).unwrap();
        let polls = waits::polls(file, &text);
        found.extend(polls.iter().map(|(line, call)| format!("{}:{line}: {call}", file.display())));
    }
    let found = found.join("\n");
    assert!(
        found.is_empty(),
        "wait for an event, or state the reason in a comment (`// polling: …`):\n{found}"
    );
}
