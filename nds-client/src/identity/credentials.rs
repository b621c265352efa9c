//! What to present to istiod: the certificate or the bootstrap token, and which of them when.

use std::sync::Arc;

use super::{Identity, Token};

/// What to present to istiod.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A client certificate. One that istiod does not accept fails the handshake: it never asks for the token instead.
    Certificate(Arc<Identity>),
    /// The token, as it was just read.
    Token(Arc<Token>),
}

impl Credentials {
    /// A short name for logs.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Token(_) => "token",
        }
    }

    /// Whom istiod takes this client for.
    pub(crate) fn who(&self) -> String {
        match self {
            Self::Certificate(identity) => identity.spiffe_id().to_string(),
            Self::Token(_) => "the token's bearer".to_owned(),
        }
    }
}

/// Chooses the credentials of each attempt to reach istiod: the certificate, and the token where there is no valid
/// certificate or istiod has refused it.
///
/// A refusal may look like a lost connection, because its TLS alert and the reset that follows race. So the token is tried
/// at every fourth attempt in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CredentialLadder {
    failures: u32,
    /// The epoch of the certificate that istiod has refused.
    refused: Option<u64>,
}

/// What to present at the next attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    Certificate,
    /// No certificate can be used.
    Token,
    /// The token in place of a certificate that can be used. If it is accepted where the certificate was not, the
    /// certificate was refused.
    TokenInstead,
}

/// After so many attempts with the certificate comes one with the token.
const TOKEN_EACH: u32 = 4;

impl CredentialLadder {
    /// After this many failures in a row.
    pub(crate) fn after(failures: u32) -> Self {
        Self { failures, refused: None }
    }

    /// The choice for a valid certificate of this epoch.
    pub(crate) fn next(&self, certificate: Option<u64>, has_token: bool) -> Choice {
        match certificate.filter(|epoch| self.refused != Some(*epoch)) {
            None => Choice::Token,
            Some(_) if has_token && self.failures % TOKEN_EACH == TOKEN_EACH - 1 => Choice::TokenInstead,
            Some(_) => Choice::Certificate,
        }
    }

    /// istiod has refused the certificate of this epoch. Returns whether that is new.
    pub(crate) fn refuse(&mut self, epoch: u64) -> bool {
        self.refused.replace(epoch) != Some(epoch)
    }

    /// An attempt failed without a reason that speaks about the credentials.
    pub(crate) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// An attempt succeeded.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }

    /// How many attempts failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_comes_first_and_the_token_at_every_fourth_attempt() {
        let mut ladder = CredentialLadder::default();
        let choices: Vec<_> = std::iter::repeat_with(|| {
            let choice = ladder.next(Some(1), true);
            ladder.fail();
            choice
        })
        .take(8)
        .collect();
        let round = [Choice::Certificate, Choice::Certificate, Choice::Certificate, Choice::TokenInstead];
        assert_eq!(choices, [round, round].concat());
        ladder.succeed();
        assert_eq!(ladder.next(Some(1), true), Choice::Certificate);
    }

    #[test]
    fn without_a_token_the_certificate_is_all_there_is() {
        assert_eq!(CredentialLadder::after(3).next(Some(1), false), Choice::Certificate);
        assert_eq!(CredentialLadder::after(3).next(Some(1), true), Choice::TokenInstead);
    }

    #[test]
    fn a_refused_certificate_is_not_presented_again_but_the_next_one_is() {
        let mut ladder = CredentialLadder::default();
        assert!(ladder.refuse(1) && !ladder.refuse(1));
        assert_eq!(ladder.next(Some(1), true), Choice::Token);
        assert_eq!(ladder.next(Some(1), false), Choice::Token, "only a token can help");
        ladder.succeed();
        assert_eq!(
            ladder.next(Some(1), true),
            Choice::Token,
            "a good stream by token changes nothing about it"
        );
        assert_eq!(ladder.next(Some(2), true), Choice::Certificate);
        assert_eq!(ladder.next(None, true), Choice::Token);
    }
}
