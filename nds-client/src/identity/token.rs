//! The bootstrap token: a Kubernetes service account token in a file.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    duration::Rough,
    error::{Error, ErrorKind},
};

/// The audience that istiod asks the Kubernetes API about (istio `pkg/security/security.go`, `TOKEN_AUDIENCES`).
const AUDIENCE: &str = "istio-ca";

/// How long a file may be gone or empty because it is being replaced.
const BEING_WRITTEN: Duration = Duration::from_secs(1);

/// A token. Never shown.
pub(crate) struct Token(String);

impl Token {
    /// Reads the file anew, as at each use: whatever renews it needs no restart of ours, and may be writing it just now.
    pub(crate) async fn read(file: &Path) -> Result<Self, Error> {
        if let Ok(token) = Self::look(file) {
            return Ok(token);
        }
        sleep(BEING_WRITTEN).await;
        Self::look(file)
    }

    fn look(file: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(file).map_err(|error| {
            let message =
                format!("token file {} cannot be read: write a token there with `kubectl create token --audience {AUDIENCE}`", file.display());
            Error::with_source(ErrorKind::Credentials, message, error)
        })?;
        let token = text.trim();
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        let what = match token {
            "" => "is empty",
            _ if !printable => "holds more than a token",
            _ => return Ok(Self(token.to_owned())),
        };
        let message = format!(
            "token file {} {what}: write a token there with `kubectl create token --audience {AUDIENCE}`",
            file.display()
        );
        Err(Error::new(ErrorKind::Credentials, message))
    }

    #[cfg(fuzzing)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Why istiod may have refused the token. It does not say: a missing, an expired and a foreign token all read
    /// the same there, so the token's own claims are looked at.
    pub(crate) fn why_refused(&self, now: SystemTime) -> String {
        let Some(claims) = self.claims() else {
            return "it is not a JSON web token".into();
        };
        if let Some(expiry) = claims.exp {
            let expiry = UNIX_EPOCH + Duration::from_secs(expiry);
            if let Ok(ago) = now.duration_since(expiry) {
                return format!("it expired {} ago", Rough(ago));
            }
        }
        let audiences = claims.aud.map(Audience::into_vec).unwrap_or_default();
        if !audiences.iter().any(|audience| audience == AUDIENCE) {
            return format!("its audience is {audiences:?} where istiod wants {AUDIENCE:?}");
        }
        match claims.sub {
            Some(subject) => format!(
                "it is {subject}'s, for the right audience and not expired: the cluster id may not be one that istiod knows, or the token is another cluster's"
            ),
            None => "it names no subject".into(),
        }
    }

    fn claims(&self) -> Option<Claims> {
        let payload = self.0.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

#[derive(Deserialize)]
struct Claims {
    aud: Option<Audience>,
    exp: Option<u64>,
    sub: Option<String>,
}

/// One audience may be written as a text (RFC 7519, 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    Many(Vec<String>),
    One(String),
}

impl Audience {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::Many(audiences) => audiences,
            Self::One(audience) => vec![audience],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Token {
        Token(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn the_reason_of_a_refusal_is_found_in_the_claims() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let why = |claims| token(claims).why_refused(now);
        assert_eq!(why(r#"{"aud":["istio-ca"],"exp":9000,"sub":"s"}"#), "it expired 16 min ago");
        let audience = r#"its audience is ["https://kubernetes"] where istiod wants "istio-ca""#;
        assert_eq!(why(r#"{"aud":"https://kubernetes","exp":20000}"#), audience);
        assert!(why(r#"{"aud":"istio-ca","exp":20000,"sub":"s"}"#).contains("cluster id"));
        assert_eq!(Token("opaque".into()).why_refused(now), "it is not a JSON web token");
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token("secret".into())), "Token(<redacted>)");
    }

    #[test]
    fn an_empty_token_file_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\n").unwrap();
        let error = Token::look(file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials);
        assert!(error.to_string().contains(&file.path().display().to_string()));
    }
}
