//! Splitting a file into documents without losing count of the lines.

/// One YAML document, padded with empty lines so that the parser counts as an editor does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// The line of the first thing in it.
    pub(crate) line: u64,
}

/// The documents of a file; those of nothing but comments are left out.
pub(crate) fn split(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut current = String::new();
    let mut first = None;
    for (index, line) in text.lines().enumerate() {
        let separator = line == "---" || line.starts_with("--- ");
        if separator || line == "..." {
            finish(&mut documents, &mut current, &mut first, index + 1);
            continue;
        }
        let content = line.trim();
        if first.is_none() && !content.is_empty() && !content.starts_with('#') {
            first = Some(index + 1);
        }
        current.push_str(line);
        current.push('\n');
    }
    finish(&mut documents, &mut current, &mut first, 0);
    documents
}

fn finish(documents: &mut Vec<Document>, current: &mut String, first: &mut Option<usize>, lines: usize) {
    let text = std::mem::replace(current, "\n".repeat(lines));
    if let Some(line) = first.take() {
        documents.push(Document { text, line: u64::try_from(line).unwrap_or(u64::MAX) });
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn documents_keep_their_lines() {
        let documents = split("# only a comment\n---\na: 1\n---\n\n# why\nb: 2\n");
        let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
        assert_eq!(lines, [3, 7]);
        assert_eq!(documents[1].text.lines().nth(6), Some("b: 2"));
    }

    #[test]
    fn a_file_of_comments_has_no_document() {
        assert_eq!(split("# nothing\n---\n"), []);
    }
}
