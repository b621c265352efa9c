//! The bootstrap token: a Kubernetes service account token in a file.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::{
    duration::HumanDuration,
    error::{Error, ErrorKind},
};

/// The audience that istiod requires in a token (istio `pkg/security/security.go`, `TOKEN_AUDIENCES`).
const AUDIENCE: &str = "istio-ca";

/// The longest time for which the file may be missing or empty while it is replaced.
const BEING_WRITTEN: Duration = Duration::from_secs(1);

/// A bootstrap token. `Debug` does not print it, and it is erased when it is dropped.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Reads the token from the file. The file is read for each use. If the first attempt fails, a second one follows
    /// after a pause, because another program may be writing the file.
    pub(crate) async fn read(file: &Path) -> Result<Self, Error> {
        if let Ok(token) = Self::try_read(file) {
            return Ok(token);
        }
        sleep(BEING_WRITTEN).await;
        Self::try_read(file)
    }

    fn try_read(file: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
            let message =
                format!("token file {} cannot be read: write a token to it with `kubectl create token --audience {AUDIENCE}`", file.display());
            Error::with_source(ErrorKind::Credentials, message, error)
        })?;
        let token = text.trim();
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        let what = match token {
            "" => "is empty",
            _ if !printable => "contains more than a token",
            _ => return Ok(Self(token.to_owned().into())),
        };
        let message = format!(
            "token file {} {what}: write a token to it with `kubectl create token --audience {AUDIENCE}`",
            file.display()
        );
        Err(Error::new(ErrorKind::Credentials, message))
    }

    #[cfg(fuzzing)]
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned().into())
    }

    /// Returns the value of the header `authorization`.
    pub(crate) fn bearer(&self) -> Zeroizing<String> {
        ["Bearer ", &self.0].concat().into()
    }

    /// Returns the probable reason why istiod rejected the token. The response of istiod is the same for a missing
    /// token, an expired token and a token of another mesh, so the reason is derived from the claims of the token.
    pub(crate) fn rejection_reason(&self, now: SystemTime) -> String {
        let Some(claims) = self.claims() else {
            return "the token is not a JSON Web Token".into();
        };
        if let Some(expiry) = claims.exp {
            // A token that expires beyond the range of the clock is not expired.
            let expiry = UNIX_EPOCH.checked_add(Duration::from_secs(expiry));
            if let Some(Ok(ago)) = expiry.map(|expiry| now.duration_since(expiry)) {
                return format!("the token expired {} ago", HumanDuration(ago));
            }
        }
        let audiences = claims.aud.map(Audience::into_vec).unwrap_or_default();
        if !audiences.iter().any(|audience| audience == AUDIENCE) {
            return format!("the audience of the token is {audiences:?}, but istiod requires {AUDIENCE:?}");
        }
        match claims.sub {
            Some(subject) => format!(
                "the token belongs to {subject}, has the right audience and is not expired: istiod may not know the cluster ID, or the token is from another cluster"
            ),
            None => "the token has no subject".into(),
        }
    }

    fn claims(&self) -> Option<Claims> {
        let payload = self.0.split('.').nth(1)?;
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
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

/// The claim `aud`: a list of audiences, or a string for a single one (RFC 7519, 4.1.3).
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
        Token(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into())
    }

    #[test]
    fn the_rejection_reason_is_derived_from_the_claims() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let why = |claims| token(claims).rejection_reason(now);
        assert_eq!(why(r#"{"aud":["istio-ca"],"exp":9000,"sub":"s"}"#), "the token expired 16 min ago");
        let audience =
            r#"the audience of the token is ["https://kubernetes"], but istiod requires "istio-ca""#;
        assert_eq!(why(r#"{"aud":"https://kubernetes","exp":20000}"#), audience);
        assert!(why(r#"{"aud":"istio-ca","exp":20000,"sub":"s"}"#).contains("cluster ID"));
        assert_eq!(
            Token("opaque".to_owned().into()).rejection_reason(now),
            "the token is not a JSON Web Token"
        );
    }

    #[test]
    fn an_expiry_beyond_the_range_of_the_clock_is_not_in_the_past() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        for expiry in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            let claims = format!(r#"{{"aud":"istio-ca","exp":{expiry},"sub":"s"}}"#);
            assert!(token(&claims).rejection_reason(now).contains("is not expired"), "{expiry}");
        }
        for expiry in ["-1", "1e300", "18446744073709551616", "\"9\""] {
            let claims = format!(r#"{{"aud":"istio-ca","exp":{expiry}}}"#);
            assert_eq!(token(&claims).rejection_reason(now), "the token is not a JSON Web Token", "{expiry}");
        }
    }

    #[test]
    fn debug_does_not_print_the_token() {
        assert_eq!(format!("{:?}", Token("secret".to_owned().into())), "Token(<redacted>)");
    }

    #[test]
    fn an_empty_token_file_is_an_error_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\n").unwrap();
        let error = Token::try_read(file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials);
        assert!(error.to_string().contains(&file.path().display().to_string()));
    }
}
