//! The list of words.

use regex_lite::Regex;

pub(crate) struct Words(Vec<(Regex, String)>);

/// An occurrence of a listed word.
pub(crate) struct Word<'a> {
    pub(crate) found: String,
    /// What to write instead.
    pub(crate) instead: &'a str,
}

impl Words {
    /// Parses lines of the form `expression | replacement`; the last `|` separates.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let word = |line: &str| {
            let (expression, instead) =
                line.rsplit_once('|').unwrap_or_else(|| panic!("no replacement: {line}"));
            let expression = Regex::new(&format!(r"(?i)\b(?:{})\b", expression.trim())).unwrap();
            (expression, instead.trim().to_owned())
        };
        Self(lines.map(word).collect())
    }

    /// The listed words in a text, in the order of the list.
    pub(crate) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Word<'a>> {
        let word = |(expression, instead): &'a (Regex, String)| {
            let found = expression.find(text)?.as_str().to_owned();
            Some(Word { found, instead })
        };
        self.0.iter().filter_map(word)
    }
}
