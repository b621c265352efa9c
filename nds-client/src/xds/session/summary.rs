//! The text of a NACK.

use std::borrow::Cow;

/// The maximum length of the text in bytes. istiod logs the text of a NACK, and the health contains it.
const MAX_BYTES: usize = 4096;
/// The maximum length of one problem in bytes. A problem contains names that istiod has sent.
const MAX_PROBLEM: usize = 512;

/// Joins the problems of a push. A long text is truncated; its end says how many problems are omitted.
pub(super) fn of(problems: &[String]) -> String {
    let mut text = String::new();
    for (at, problem) in problems.iter().enumerate() {
        let problem = truncated(problem);
        if text.len() + problem.len() > MAX_BYTES {
            return format!("{text}; and {} more problems", problems.len() - at);
        }
        if at > 0 {
            text.push_str("; ");
        }
        text.push_str(&problem);
    }
    text
}

/// Returns a text of at most [`MAX_PROBLEM`] bytes. A longer text is cut and ends with an ellipsis.
fn truncated(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_PROBLEM {
        return text.into();
    }
    let end = (0..=MAX_PROBLEM).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    format!("{end}…").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_is_complete() {
        assert_eq!(of(&["one".into(), "two".into()]), "one; two");
    }

    #[test]
    fn many_problems_are_counted() {
        let problems: Vec<_> = (0..1000).map(|number| format!("cluster {number:030}: invalid")).collect();
        let text = of(&problems);
        assert!(text.len() < MAX_BYTES + 100 && text.starts_with(&problems[0]), "{text}");
        let omitted = 1000 - text.matches("invalid").count();
        assert!(text.ends_with(&format!("; and {omitted} more problems")), "{text}");
    }

    proptest! {
        #[test]
        fn the_length_is_limited(problems in proptest::collection::vec("(?s).{0,900}", 0..40)) {
            prop_assert!(of(&problems).len() < 2 * MAX_BYTES);
        }
    }
}
