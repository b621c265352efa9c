//! The private key of this process and the certificate signing request.
//!
//! Keys are generated with the library of a compiled-in crypto provider, because the `CryptoProvider` of rustls cannot
//! generate keys.

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod generated;
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
mod unavailable;

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(crate) use self::generated::SigningRequest;
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
pub(crate) use self::unavailable::SigningRequest;
