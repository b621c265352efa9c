//! Public documentation and messages avoid the words in `words.txt`.
//!
//! The check covers doc comments and string literals in the sources of published crates, the headers of the C library, and
//! the Markdown pages. `allowed.txt` lists exceptions with their reasons.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod allowed;
mod text;
mod words;

use std::{fs, path::Path};

use self::{allowed::Allowed, words::Words};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn public_documentation_and_messages_use_standard_words() {
    let words = Words::parse(include_str!("words.txt"));
    let mut allowed = Allowed::parse(include_str!("allowed.txt"));
    let mut findings = Vec::new();
    for (file, line, text) in text::lines(root()) {
        for word in words.find(&text) {
            if !allowed.permits(&file, &text) {
                findings.push(format!(
                    "{file}:{line}: `{}` (write: {}): {}",
                    word.found,
                    word.instead,
                    text.trim()
                ));
            }
        }
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    assert_eq!(allowed.unused(), Vec::<String>::new(), "exceptions that nothing needs");
}

#[test]
fn a_listed_word_is_found_as_a_whole_word_in_any_case() {
    let words = Words::parse("# comment\nkept | stored\ncome about|comes about | succeed\n");
    let found = |text: &str| words.find(text).map(|word| word.found).collect::<Vec<_>>();
    assert_eq!(found("The value is Kept."), ["Kept"]);
    assert_eq!(found("It comes about, and is kept"), ["kept", "comes about"]);
    assert!(found("upkept keptness").is_empty());
}

#[test]
fn documentation_and_messages_are_extracted_and_code_is_not() {
    let source = "/// The kept value.\nfn kept() { panic!(\"it was told\"); let kept = 1; } // kept\n";
    let lines: Vec<_> =
        text::rust(source).into_iter().map(|(line, text)| (line, text.trim().to_owned())).collect();
    assert_eq!(lines, [(1, "The kept value.".to_owned()), (2, "it was told".to_owned())]);
}

/// Metrics and environment variables are part of the API.
#[test]
fn every_metric_and_environment_variable_is_on_the_page_of_stable_names() {
    let page = fs::read_to_string(root().join("docs/stable-names.md")).unwrap();
    let prefixes = ["istio_", "nds_client_", "mesh_resolver_", "mesh_connector_", "SIDESTEP_"];
    let is_name = |text: &str| {
        prefixes.iter().any(|prefix| text.starts_with(prefix))
            && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let names = text::literals(root(), &["nds-client", "mesh-resolver", "mesh-connector"]);
    let names: Vec<_> = names.into_iter().filter(|text| is_name(text)).collect();
    assert!(names.len() > 20, "metrics are found in the sources: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/stable-names.md: {missing:?}");
}
