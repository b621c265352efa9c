//! Credentials for istiod: the certificate or the bootstrap token, and the choice between them.

use std::sync::Arc;

use super::{Identity, Token};

/// The credentials of one connection to istiod.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A client certificate. istiod rejects an invalid certificate in the TLS handshake and does not fall back to a
    /// token.
    Certificate(Arc<Identity>),
    /// The bootstrap token, which was read from its file for this connection.
    Token(Arc<Token>),
}

impl Credentials {
    /// Returns a short name for logs.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Token(_) => "token",
        }
    }

    /// Returns the identity that the credentials claim, for messages.
    pub(crate) fn claimed_identity(&self) -> String {
        match self {
            Self::Certificate(identity) => identity.spiffe_id().to_string(),
            Self::Token(_) => "the owner of the token".to_owned(),
        }
    }
}

/// Chooses the credentials of each attempt to connect to istiod: the certificate, or the token if there is no valid
/// certificate or istiod has rejected it.
///
/// A rejection can look like a lost connection, because the TLS alert races with the reset of the connection. Therefore
/// every fourth consecutive attempt uses the token.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CredentialSelector {
    failures: u32,
    /// The epoch of the last certificate that istiod has rejected; `None` if it has rejected none.
    rejected: Option<u64>,
}

/// The credentials of the next attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    Certificate,
    /// The token, because no certificate can be used.
    Token,
    /// The token, although a certificate can be used. If istiod accepts the token, the earlier attempts failed because
    /// istiod rejected the certificate.
    TokenInstead,
}

/// Of this many consecutive attempts, the last one uses the token.
const TOKEN_INTERVAL: u32 = 4;

impl CredentialSelector {
    /// Creates a selector for the attempt after this number of consecutive failed attempts.
    pub(crate) fn after(failures: u32) -> Self {
        Self { failures, rejected: None }
    }

    /// Returns the credentials for the next attempt. `certificate` is the epoch of the current certificate; `None` if
    /// there is none or it has expired.
    pub(crate) fn next(&self, certificate: Option<u64>, has_token: bool) -> Choice {
        match certificate.filter(|epoch| self.rejected != Some(*epoch)) {
            None => Choice::Token,
            Some(_) if has_token && self.failures % TOKEN_INTERVAL == TOKEN_INTERVAL - 1 => {
                Choice::TokenInstead
            }
            Some(_) => Choice::Certificate,
        }
    }

    /// Records that istiod rejected the certificate of this epoch. Returns whether this is a new rejection.
    pub(crate) fn reject(&mut self, epoch: u64) -> bool {
        self.rejected.replace(epoch) != Some(epoch)
    }

    /// Records a failed attempt. The credentials may or may not be the cause.
    pub(crate) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Records a successful attempt.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Returns the number of consecutive failed attempts.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_comes_first_and_the_token_at_every_fourth_attempt() {
        let mut selector = CredentialSelector::default();
        let choices: Vec<_> = std::iter::repeat_with(|| {
            let choice = selector.next(Some(1), true);
            selector.fail();
            choice
        })
        .take(8)
        .collect();
        let round = [Choice::Certificate, Choice::Certificate, Choice::Certificate, Choice::TokenInstead];
        assert_eq!(choices, [round, round].concat());
        selector.succeed();
        assert_eq!(selector.next(Some(1), true), Choice::Certificate);
    }

    #[test]
    fn without_a_token_the_certificate_is_always_chosen() {
        assert_eq!(CredentialSelector::after(3).next(Some(1), false), Choice::Certificate);
        assert_eq!(CredentialSelector::after(3).next(Some(1), true), Choice::TokenInstead);
    }

    #[test]
    fn a_rejected_certificate_is_not_used_again_but_its_successor_is() {
        let mut selector = CredentialSelector::default();
        assert!(selector.reject(1) && !selector.reject(1));
        assert_eq!(selector.next(Some(1), true), Choice::Token);
        assert_eq!(selector.next(Some(1), false), Choice::Token, "only a token can help");
        selector.succeed();
        assert_eq!(
            selector.next(Some(1), true),
            Choice::Token,
            "a stream with the token does not rehabilitate the certificate"
        );
        assert_eq!(selector.next(Some(2), true), Choice::Certificate);
        assert_eq!(selector.next(None, true), Choice::Token);
    }
}
