//! Parses `labels` and `annotations` files of the Kubernetes downward API: one `key="value"` per line.

use std::collections::BTreeMap;

/// Parses the text of a `labels` or `annotations` file. Lines that are not of the form `key="value"` are skipped, as in
/// Istio's agent (istio `pkg/bootstrap/config.go`, `ParseDownwardAPI`).
pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        Some((key.to_owned(), serde_json::from_str(value).ok()?))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_key_and_a_quoted_value() {
        let labels = parse("app=\"edge\"\nserving.example/name=\"a \\\"b\\\"\\nc\"\n\nnonsense\n");
        let expected = [("app", "edge"), ("serving.example/name", "a \"b\"\nc")];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
