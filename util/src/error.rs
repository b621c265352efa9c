//! The common structure of the crates' errors, and reports of an error with its causes.

use std::{
    error::Error,
    fmt::{self, Write},
    iter,
};

/// An owned error of any type, as a source of another error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The contents of the public error type of a crate.
///
/// A crate wraps it as `pub struct Error(Arc<ErrorCore<ErrorKind, Details>>)` and implements the traits with
/// [`impl_error!`](crate::impl_error). Build the value completely before it is put into the `Arc`.
///
/// [`Display`](fmt::Display) writes the message, which contains the next step. [`Debug`](fmt::Debug) writes the message
/// and each cause on a line of its own, so that a `main` that returns the error prints readable text.
pub struct ErrorCore<K, D = ()> {
    /// The category of the error.
    pub kind: K,
    /// The message: the object, the failure and the next step.
    pub message: String,
    /// Further facts about the error, specific to the crate.
    pub details: D,
    /// The cause of the error. Its text does not repeat the message.
    pub source: Option<BoxError>,
}

impl<K> ErrorCore<K> {
    /// Creates an error without details and without a cause.
    pub fn new(kind: K, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: (), source: None }
    }
}

impl<K, D> ErrorCore<K, D> {
    /// Replaces the details of the error. The new details may have another type.
    #[must_use]
    pub fn with_details<E>(self, details: E) -> ErrorCore<K, E> {
        ErrorCore { kind: self.kind, message: self.message, details, source: self.source }
    }

    /// Sets the cause of the error.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Returns the cause of the error, as [`Error::source`] does.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }

    /// Returns the message and the causes on one line, separated by `: `.
    ///
    /// A cause is left out if the text before it already ends with the message of the cause.
    #[must_use]
    pub fn report(&self) -> String {
        join_causes(self.message.clone(), self.source())
    }
}

impl<K, D> fmt::Display for ErrorCore<K, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<K, D> fmt::Debug for ErrorCore<K, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut before = self.message.clone();
        let mut heading = "\n\nCaused by:";
        for cause in causes(self.source()) {
            let text = cause.to_string();
            if !before.ends_with(&text) {
                f.write_str(heading)?;
                heading = "";
                for line in text.lines() {
                    f.write_str("\n    ")?;
                    f.write_str(line)?;
                }
                before = text;
            }
        }
        Ok(())
    }
}

/// Implements the common part of a public error type, a tuple struct whose only field is an `Arc<ErrorCore<_, _>>`:
/// `Display`, `Debug` and `Error`. If the macro also gets the type of the error kind, it adds the methods `kind`,
/// `is_transient` and `report`; that type must be `Copy` and have a method `is_transient`.
#[macro_export]
macro_rules! impl_error {
    ($error:ty, $kind:ty) => {
        #[allow(unreachable_pub, reason = "the error type may be private, as in tests")]
        impl $error {
            /// Returns the kind of the error.
            #[must_use]
            pub fn kind(&self) -> $kind {
                self.0.kind
            }

            /// Returns whether a later attempt may succeed although the caller changes nothing, as
            #[doc = concat!("[`", stringify!($kind), "::is_transient`] does.")]
            #[must_use]
            pub fn is_transient(&self) -> bool {
                self.0.kind.is_transient()
            }

            /// Returns the message and its causes on one line, separated by `: `.
            #[must_use]
            pub fn report(&self) -> String {
                $crate::error::ErrorCore::report(&self.0)
            }
        }

        $crate::impl_error!($error);
    };
    ($error:ty) => {
        impl ::std::fmt::Display for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl ::std::error::Error for $error {
            fn source(&self) -> ::std::option::Option<&(dyn ::std::error::Error + 'static)> {
                $crate::error::ErrorCore::source(&self.0)
            }
        }
    };
}

/// Returns the message of `error` and of its causes on one line, separated by `: `.
///
/// A cause is left out if the text before it already ends with the message of the cause: many errors include the
/// message of their source in their own.
#[must_use]
pub fn report(error: &(dyn Error + 'static)) -> String {
    with_causes(error.to_string(), error)
}

/// Returns `message` and the causes of `error` on one line, as [`report`] does, without the message of `error` itself.
#[must_use]
pub fn with_causes(message: impl Into<String>, error: &(dyn Error + 'static)) -> String {
    join_causes(message.into(), error.source())
}

fn join_causes(mut report: String, source: Option<&(dyn Error + 'static)>) -> String {
    for cause in causes(source) {
        let text = cause.to_string();
        if !report.ends_with(&text) {
            // Writing to a string does not fail.
            let _ = write!(report, ": {text}");
        }
    }
    report
}

fn causes<'a>(source: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(source, |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

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
    fn a_cause_repeated_by_its_error_is_reported_once_and_its_own_cause_is_reported() {
        assert_eq!(report(&chain(&["file: not PEM", "not PEM", "byte 7"])), "file: not PEM: byte 7");
        assert_eq!(report(&chain(&["a", "b: c", "c"])), "a: b: c");
        assert_eq!(report(&chain(&["a", ""])), "a", "a transparent wrapper has no text of its own");
    }

    #[test]
    fn a_message_can_replace_that_of_the_error() {
        assert_eq!(with_causes("summary", &chain(&["long message", "cause"])), "summary: cause");
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Kind;

    impl Kind {
        fn is_transient(self) -> bool {
            true
        }
    }

    #[derive(Clone)]
    struct Wrapper(Arc<ErrorCore<Kind, &'static str>>);

    impl_error!(Wrapper, Kind);

    fn wrapper(message: &str, causes: &[&'static str]) -> Wrapper {
        let core = ErrorCore::new(Kind, message).with_details("details");
        Wrapper(Arc::new(if causes.is_empty() { core } else { core.with_source(chain(causes)) }))
    }

    #[test]
    fn display_is_the_message_and_the_report_adds_the_causes() {
        let error = wrapper("host: no connection", &["handshake", "refused"]);
        assert_eq!((error.kind(), error.0.details), (Kind, "details"));
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "host: no connection");
        assert_eq!(error.report(), "host: no connection: handshake: refused");
        assert_eq!(error.report(), report(&error));
        assert_eq!(error.source().unwrap().to_string(), "handshake");
    }

    #[test]
    fn debug_lists_each_cause_on_its_own_line() {
        let error = wrapper("no connection", &["handshake", "refused: twice\nby the peer"]);
        assert_eq!(
            format!("{error:?}"),
            "no connection\n\nCaused by:\n    handshake\n    refused: twice\n    by the peer"
        );
        assert_eq!(format!("{:?}", wrapper("alone", &[])), "alone");
        assert_eq!(
            format!("{:?}", wrapper("file: not PEM", &["not PEM", "byte 7"])),
            "file: not PEM\n\nCaused by:\n    byte 7"
        );
    }
}
