//! What a client of the proxy knows that other processes do not.

use std::{fmt, sync::Arc};

use subtle::ConstantTimeEq as _;

use crate::{
    error::{Error, ErrorKind},
    mesh::Mesh,
};

/// A bridge's password: 128 random bits in hexadecimal. [`Debug`](fmt::Debug) does not show it.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(mesh: &Mesh) -> Result<Self, Error> {
        let identity = mesh.client().identity().get();
        let Some(identity) = identity.as_ref() else {
            let message = "a bridge needs the membership's identity, which has not been issued yet";
            return Err(Error::new(ErrorKind::Credentials, message));
        };
        let mut bytes = [0; 16];
        identity.provider().secure_random.fill(&mut bytes).map_err(|_| {
            Error::new(ErrorKind::Config, "the crypto provider has no random bytes for the bridge's secret")
        })?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
    }

    /// The password itself. Keep it from logs and from command lines, which other processes see.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the difference is.
    pub(super) fn is(&self, guess: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(guess).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret_and_debug_hides_it() {
        let secret = Secret("0123".into());
        assert!(secret.is(b"0123"));
        for guess in [&b""[..], b"0", b"0124", b"01234", b"0123\0"] {
            assert!(!secret.is(guess));
        }
        assert!(!format!("{secret:?}").contains("0123"));
    }
}
