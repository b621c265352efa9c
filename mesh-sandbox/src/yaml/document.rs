//! Splits a file into documents and records their line numbers.

/// One YAML document, without comments and empty lines before its content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// The line of the file at which the text starts.
    pub(crate) line: u64,
}

/// Returns the documents of a file. Documents that contain only comments are omitted.
pub(crate) fn split(text: &str) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    let mut inside = false;
    for (line, number) in text.lines().zip(1..) {
        let content = match line.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => {
                inside = false;
                rest.trim_start()
            }
            _ if line == "..." => {
                inside = false;
                ""
            }
            _ => line,
        };
        let is_blank = content.trim().is_empty() || content.trim_start().starts_with('#');
        if !inside && !is_blank {
            inside = true;
            documents.push(Document { text: String::new(), line: number });
        }
        if let Some(document) = documents.last_mut().filter(|_| inside) {
            document.text.push_str(content);
            document.text.push('\n');
        }
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn documents_have_the_line_numbers_of_the_file() {
        let documents = split("# only a comment\n---\na: 1\n---\n\n# why\nb: 2\n");
        let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
        assert_eq!(lines, [3, 7]);
        assert_eq!(documents[1].text, "b: 2\n");
    }

    #[test]
    fn content_after_the_dashes_belongs_to_the_document() {
        let documents = split("--- # the first\na: 1\n--- {b: 2}\n");
        let texts: Vec<_> = documents.iter().map(|document| document.text.as_str()).collect();
        assert_eq!(texts, ["a: 1\n", "{b: 2}\n"]);
        assert_eq!(documents[1].line, 3);
    }

    #[test]
    fn a_file_of_comments_has_no_document() {
        assert_eq!(split("# nothing\n---\n"), []);
    }
}
