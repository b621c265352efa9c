//! Tests that any text is read or rejected: in bounded time and memory, and without a panic.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::mesh_config::MeshConfig;
use super::mesh_networks::MeshNetworks;
use super::parse_file;
use super::read::read;
use crate::error::ErrorKind;

/// Reads a text as every kind of file. Returns the error of reading it as objects.
fn read_as_all(text: &str) -> Option<ErrorKind> {
    let file = Path::new("a.yaml");
    let _ = parse_file::<MeshConfig>(file, text);
    let _ = parse_file::<MeshNetworks>(file, text);
    read(file, text).err().map(|error| error.kind())
}

/// Lines of YAML with the keys and the syntax that the parser knows.
fn lines() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "apiVersion: networking.istio.io/v1",
        "apiVersion: v1",
        "kind: Service",
        "kind: ServiceEntry",
        "kind: DestinationRule",
        "kind: Gateway",
        "metadata:",
        "name: a",
        "namespace: b",
        "labels:",
        "spec:",
        "hosts:",
        "- a.example",
        "ports:",
        "number: 80",
        "number: -1",
        "endpoints:",
        "subsets:",
        "trafficPolicy:",
        "selector:",
        "&a",
        "*a",
        "<<: *a",
        "? x",
        ": y",
        "|",
        ">",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "---",
        "...",
        "!!binary a",
        "%YAML 1.2",
        "~",
        "0x10",
        "1e999",
        ".nan",
        "\t",
        "#",
    ]);
    prop::collection::vec((0_usize..6, word), 0..40).prop_map(|lines| {
        lines.into_iter().fold(String::new(), |mut text, (depth, word)| {
            let _ = writeln!(text, "{}{word}", "  ".repeat(depth));
            text
        })
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_rejected(text in any::<String>()) {
        read_as_all(&text);
    }

    #[test]
    fn any_lines_of_yaml_are_read_or_rejected(text in lines()) {
        read_as_all(&text);
    }
}

/// The header of a document, with `value` in a place where any value is ignored.
fn with_value(value: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: a}}\nvalue: {value}\n")
}

#[test]
fn deep_nesting_is_rejected_and_does_not_overflow_the_stack() {
    for depth in [100, 10_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
            let text = with_value(&format!("\n  {}0{}", open.repeat(depth), close.repeat(depth)));
            assert_eq!(read_as_all(&text), Some(ErrorKind::InvalidYaml), "{depth} times {open}");
        }
    }
    let mut indented = String::new();
    for depth in 0..2000 {
        let _ = writeln!(indented, "{}a:", " ".repeat(depth));
    }
    assert_eq!(read_as_all(&indented), Some(ErrorKind::InvalidYaml));
}

#[test]
fn aliases_that_expand_exponentially_are_rejected() {
    // Each line refers nine times to the previous one ("billion laughs").
    let mut text = with_value("\n  - &a0 [x, x, x, x, x, x, x, x, x]");
    for level in 1..=10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(text, "  - &a{level} [{aliases}]");
    }
    assert_eq!(read_as_all(&text), Some(ErrorKind::InvalidYaml));
}

#[test]
fn an_alias_of_itself_is_rejected() {
    assert_eq!(read_as_all(&with_value("&a [*a]")), Some(ErrorKind::InvalidYaml));
    assert_eq!(read_as_all(&with_value("&a {<<: *a}")), Some(ErrorKind::InvalidYaml));
}
