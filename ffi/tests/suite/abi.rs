//! The ABI file `abi/VERSION.txt`: every constant, type and function of the header. Nothing in it may change while
//! `SIDESTEP_ABI_VERSION` is the same.

use std::fs;

use crate::{
    declarations::{constants, functions, types},
    library::manifest_dir,
};

const INTRODUCTION: &str = "# The ABI of libsidestep, generated from include/sidestep.h by tests/suite/abi.rs. Lines are only added while\n\
    # SIDESTEP_ABI_VERSION is the same: SIDESTEP_REGENERATE=1 cargo test -p sidestep-ffi --test suite abi\n";

/// Returns the lines of the ABI file for the present header.
fn declared() -> Vec<String> {
    // The version numbers change with every release.
    let constants = constants().into_iter().filter(|(name, _)| !name.starts_with("SIDESTEP_VERSION_"));
    let mut lines: Vec<_> = constants.map(|(name, value)| format!("constant {name} = {value}")).collect();
    lines.extend(types().into_iter().map(|declaration| format!("type {declaration}")));
    lines.extend(functions().into_iter().map(|function| {
        // The names of parameters are not part of the ABI.
        let parameters: Vec<_> =
            function.parameters.into_iter().map(|parameter| parameter.declared).collect();
        format!("function {} {}({})", function.returns, function.name, parameters.join(", "))
    }));
    lines.sort_unstable();
    lines
}

/// The lines of `recorded` that `current` does not contain, and the reverse.
fn difference(recorded: &[String], current: &[String]) -> (Vec<String>, Vec<String>) {
    let without = |one: &[String], other: &[String]| {
        one.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<_>>()
    };
    (without(recorded, current), without(current, recorded))
}

fn constant(name: &str) -> String {
    constants().into_iter().find(|(known, _)| known == name).unwrap().1
}

pub(crate) fn nothing_is_removed_or_changed_within_an_abi_version() {
    let abi = constant("SIDESTEP_ABI_VERSION");
    let version = if constant("SIDESTEP_VERSION_MAJOR") == "0" { format!("0.{abi}") } else { abi };
    let file = manifest_dir().join(format!("abi/{version}.txt"));
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    let lines = recorded.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let current = declared();
    assert!(current.len() > 100, "only {} declarations", current.len());
    let (removed, added) = difference(&lines.collect::<Vec<_>>(), &current);
    assert!(
        removed.is_empty(),
        "{} contains declarations that the header does not. Restore them, or increase SIDESTEP_ABI_VERSION:\n{}",
        file.display(),
        removed.join("\n")
    );
    if std::env::var_os("SIDESTEP_REGENERATE").is_some() {
        fs::write(&file, format!("{INTRODUCTION}{}\n", current.join("\n"))).unwrap();
    } else {
        assert!(
            added.is_empty(),
            "{} does not contain new declarations. Run SIDESTEP_REGENERATE=1 cargo test -p sidestep-ffi --test suite abi:\n{}",
            file.display(),
            added.join("\n")
        );
    }
}

pub(crate) fn removed_changed_and_new_declarations_are_detected() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let recorded = lines("constant A = 1\nfunction int f(int)\nfunction int g(void)");
    let current = lines("constant A = 2\nfunction int g(void)\nfunction int h(void)");
    let (removed, added) = difference(&recorded, &current);
    assert_eq!(removed, ["constant A = 1", "function int f(int)"]);
    assert_eq!(added, ["constant A = 2", "function int h(void)"]);
}
