//! `cluster.env`: `KEY=value` lines with values quoted as a shell quotes them.
//!
//! istioctl writes single quotes (istio `istioctl/pkg/workload/workload.go`, `mapToString`), `istio-start.sh` sources
//! the file; people edit it by hand. So: single and double quotes, backslashes, comments, `export`.

use std::collections::BTreeMap;

use crate::Problem;

/// Reads the file's text. What is broken is reported with its line; the other lines hold.
pub(super) fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Problem>) {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Ok((key, value)) => {
                values.insert(key.to_owned(), value);
            }
            Err(problem) => problems.push(problem.at_line(index + 1)),
        }
    }
    (values, problems)
}

fn assignment(line: &str) -> Result<(&str, String), Problem> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((key, value)) = line.split_once('=') else {
        return Err(Problem::new("not of the form KEY=value: correct or remove the line"));
    };
    let first = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Problem::new("the text before = is not the name of a variable").about(key));
    }
    unquote(value).map(|value| (key, value)).map_err(|what| Problem::new(what).about(key))
}

/// The value as a shell would read it, without expansions.
fn unquote(text: &str) -> Result<String, &'static str> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next().ok_or("a single quote that is not closed")? {
                    '\'' => break,
                    c => value.push(c),
                }
            },
            '"' => loop {
                match chars.next().ok_or("a double quote that is not closed")? {
                    '"' => break,
                    '\\' => match chars.next().ok_or("a double quote that is not closed")? {
                        c @ ('"' | '\\' | '$' | '`') => value.push(c),
                        c => value.extend(['\\', c]),
                    },
                    c => value.push(c),
                }
            },
            '\\' => value.push(chars.next().ok_or("a backslash at the end of the line")?),
            ' ' | '\t' => match chars.as_str().trim_start() {
                "" => break,
                rest if rest.starts_with('#') => break,
                _ => return Err("a space outside of quotes: quote the value"),
            },
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        let text = "A='*'\nexport B=\"x \\\"y\\\" \\n\"\nC=plain # a comment\n\n# a comment\nD='it'\\''s'\nE=\nF='{\"a\":\"b=c\"}'\n";
        let (values, problems) = parse(text);
        assert_eq!(problems, []);
        let expected = [
            ("A", "*"),
            ("B", "x \"y\" \\n"),
            ("C", "plain"),
            ("D", "it's"),
            ("E", ""),
            ("F", "{\"a\":\"b=c\"}"),
        ];
        assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn every_broken_line_is_reported_and_the_others_hold() {
        let (values, problems) = parse("A=1\nnonsense\nB='open\n2C=x\nD=a b\nE=2\n");
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
        assert_eq!(problems[1].key.as_deref(), Some("B"));
        assert_eq!(values.keys().collect::<Vec<_>>(), ["A", "E"]);
    }
}
