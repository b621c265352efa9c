//! The list of exceptions.

pub(crate) struct Allowed(Vec<Exception>);

struct Exception {
    file: String,
    text: String,
    used: bool,
}

impl Allowed {
    /// Parses lines of the form `path: text # reason`.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let exception = |line: &str| {
            let (place, _reason) = line.split_once(" # ").unwrap_or_else(|| panic!("no reason: {line}"));
            let (file, text) = place.split_once(": ").unwrap_or_else(|| panic!("no text: {line}"));
            Exception { file: file.to_owned(), text: text.trim().to_owned(), used: false }
        };
        Self(lines.map(exception).collect())
    }

    /// Whether an exception covers this line.
    pub(crate) fn permits(&mut self, file: &str, line: &str) -> bool {
        let exception =
            self.0.iter_mut().find(|exception| exception.file == file && line.contains(&exception.text));
        exception.is_some_and(|exception| {
            exception.used = true;
            true
        })
    }

    /// Exceptions that covered nothing.
    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.0.iter().filter(|exception| !exception.used);
        unused.map(|exception| format!("{}: {}", exception.file, exception.text)).collect()
    }
}
