//! The secret of the proxy.

use std::{fmt, sync::Arc};

use subtle::ConstantTimeEq as _;

use crate::{
    error::{Error, ErrorKind},
    mesh::Mesh,
};

/// The password of the proxy of a bridge: 128 random bits in hexadecimal. [`Debug`](fmt::Debug) does not print it.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(mesh: &Mesh) -> Result<Self, Error> {
        let identity = mesh.client().identity().get();
        let Some(identity) = identity.as_ref() else {
            let message = "cannot start a bridge: the mesh has no identity yet; wait for `Mesh::ready`";
            return Err(Error::new(ErrorKind::Credentials, message));
        };
        let mut bytes = [0; 16];
        identity.provider().secure_random.fill(&mut bytes).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                "cannot start a bridge: the crypto provider returned no random bytes for its secret",
            )
        })?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
    }

    /// Returns a secret with the given text.
    #[cfg(any(fuzzing, test))]
    pub(super) fn fixed(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the password. Keep it out of logs and command lines, which other processes can read.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares `guess` with the password in constant time.
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
    fn only_the_whole_secret_matches_and_debug_hides_it() {
        let secret = Secret("0123".into());
        assert!(secret.is(b"0123"));
        for guess in [&b""[..], b"0", b"0124", b"01234", b"0123\0"] {
            assert!(!secret.is(guess));
        }
        assert!(!format!("{secret:?}").contains("0123"));
    }
}
