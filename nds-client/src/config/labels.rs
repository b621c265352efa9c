//! `labels` and `annotations` as Kubernetes' downward API writes them: `key="value"`, a line each.

use std::collections::BTreeMap;

/// Reads the text; lines of another form are left out, as Istio's agent does (istio `pkg/bootstrap/config.go`,
/// `ParseDownwardAPI`).
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
