//! An error and its causes on one line.

use std::error::Error;

/// The error's message followed by those of its causes, separated by `: `.
///
/// A cause is left out where the text before it already ends with its message: many errors include the message of their
/// source in their own.
#[must_use]
pub fn report(error: &(dyn Error + 'static)) -> String {
    with_causes(error.to_string(), error)
}

/// `message` followed by the causes of `error`, as in [`report`]: for errors reported under another message than their
/// own.
#[must_use]
pub fn with_causes(message: impl Into<String>, error: &(dyn Error + 'static)) -> String {
    let mut report = message.into();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !report.ends_with(&text) {
            report.push_str(": ");
            report.push_str(&text);
        }
        cause = error.source();
    }
    report
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Layer {
        message: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn chain(messages: &[&'static str]) -> Layer {
        let (message, causes) = messages.split_first().unwrap();
        let source = (!causes.is_empty()).then(|| chain(causes).into());
        Layer { message, source }
    }

    #[test]
    fn causes_follow_the_message_in_order() {
        assert_eq!(report(&chain(&["connect", "handshake", "refused"])), "connect: handshake: refused");
        assert_eq!(report(&io::Error::other("alone")), "alone");
    }

    #[test]
    fn a_cause_that_its_error_repeats_is_reported_once_and_its_own_cause_still_is() {
        assert_eq!(report(&chain(&["file: not PEM", "not PEM", "byte 7"])), "file: not PEM: byte 7");
        assert_eq!(report(&chain(&["a", "b: c", "c"])), "a: b: c");
        assert_eq!(report(&chain(&["a", ""])), "a", "a transparent wrapper has no text of its own");
    }

    #[test]
    fn another_message_takes_the_place_of_the_errors_own() {
        assert_eq!(with_causes("summary", &chain(&["long message", "cause"])), "summary: cause");
    }
}
