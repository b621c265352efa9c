//! Parses `cluster.env`: lines of the form `KEY=value` with shell quoting.
//!
//! istioctl writes single quotes (istio `istioctl/pkg/workload/workload.go`, `mapToString`), `istio-start.sh` sources
//! the file, and people edit it. Therefore the parser accepts single and double quotes over several lines, backslashes,
//! comments, `export`, CRLF line ends and a byte order mark.

use std::collections::BTreeMap;

use crate::error::ConfigProblem;

/// Parses the text of a file. Returns the variables, and one problem with a line number for each malformed line.
pub(super) fn parse(text: &str) -> (BTreeMap<String, String>, Vec<ConfigProblem>) {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (first, mut next) = rest.split_once('\n').unwrap_or((rest, ""));
        let first = first.trim();
        if !first.is_empty() && !first.starts_with('#') {
            match assignment(rest.trim_start()) {
                Ok((key, value, after)) => {
                    values.insert(key.to_owned(), value);
                    next = after;
                }
                Err(problem) => problems.push(problem.at_line(line)),
            }
        }
        line += rest[..rest.len() - next.len()].matches('\n').count();
        rest = next;
    }
    (values, problems)
}

/// Parses one assignment. Returns the key, the value and the text after the last line of the assignment.
fn assignment(text: &str) -> Result<(&str, String, &str), ConfigProblem> {
    let line = text.lines().next().unwrap_or_default();
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let Some((key, _)) = exported.map_or(line, str::trim_start).split_once('=') else {
        return Err(ConfigProblem::new("the line is not of the form KEY=value: correct or remove it"));
    };
    let first = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ConfigProblem::new("the text before `=` is not a variable name").about(key));
    }
    let (_, value) = text.split_once('=').unwrap_or_default();
    let (value, after) = unquote(value).map_err(|what| ConfigProblem::new(what).about(key))?;
    Ok((key, value, after))
}

/// Removes the shell quotes of a value. Variables in the value (`$X`) are not expanded. Returns the value and the text
/// after its last line.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => break,
            '\'' => loop {
                match chars.next().ok_or("a single quote is not closed: add the closing quote")? {
                    '\'' => break,
                    c => value.push(c),
                }
            },
            '"' => loop {
                match chars.next().ok_or("a double quote is not closed: add the closing quote")? {
                    '"' => break,
                    '\\' => {
                        match chars.next().ok_or("a double quote is not closed: add the closing quote")? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => value.push(c),
                            c => value.extend(['\\', c]),
                        }
                    }
                    c => value.push(c),
                }
            },
            '\\' => match chars.next().ok_or("the file ends with a backslash: remove it")? {
                '\n' => {}
                c => value.push(c),
            },
            ' ' | '\t' | '\r' => {
                let (line, after) = chars.as_str().split_once('\n').unwrap_or((chars.as_str(), ""));
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    return Ok((value, after));
                }
                return Err("the value contains a space outside quotes: quote the value");
            }
            c => value.push(c),
        }
    }
    Ok((value, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_like_in_a_shell() {
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
    fn multiline_values_crlf_and_a_byte_order_mark_are_accepted() {
        let (values, problems) = parse("\u{feff}A=1 \r\nexport\tB='x\ny=\"z\"\n'\r\nC=one\\\ntwo\n2D=x");
        let expected = [("A", "1"), ("B", "x\ny=\"z\"\n"), ("C", "onetwo")];
        assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(7)]);
    }

    #[test]
    fn an_unclosed_quote_does_not_affect_other_lines() {
        let (values, problems) = parse("A='one\nB='two'\nC=3\n");
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(values.keys().collect::<Vec<_>>(), ["B", "C"]);
    }

    #[test]
    fn every_malformed_line_is_reported_and_the_others_are_used() {
        let (values, problems) = parse("A=1\nnonsense\nB='open\n2C=x\nD=a b\nE=2\n");
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
        assert_eq!(problems[1].key.as_deref(), Some("B"));
        assert_eq!(values.keys().collect::<Vec<_>>(), ["A", "E"]);
    }
}
