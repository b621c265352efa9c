//! The key of this process and the request to certify it.
//!
//! Keys are made by the library of a crypto provider that is compiled in; a `CryptoProvider` of rustls' makes none.

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod generated;
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
mod unavailable;

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(crate) use self::generated::SigningRequest;
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
pub(crate) use self::unavailable::SigningRequest;
