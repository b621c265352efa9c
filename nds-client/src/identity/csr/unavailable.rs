//! Replaces the signing request in a build without the features `aws-lc-rs` and `ring`, which cannot generate keys.

use std::convert::Infallible;

use rustls_pki_types::PrivateKeyDer;

use crate::{
    config::KeyType,
    error::{Error, ErrorKind},
};

/// A signing request that does not exist: [`new`](Self::new) always fails.
pub(crate) struct SigningRequest {
    pub(crate) pem: String,
    key: Infallible,
}

impl SigningRequest {
    pub(crate) fn new(_: &str, _: &str, _: KeyType) -> Result<Self, Error> {
        let what = "this build cannot generate keys: enable the feature `aws-lc-rs` or `ring`, or configure certificate files that another program renews";
        Err(Error::new(ErrorKind::Config, what))
    }

    pub(crate) fn into_key(self) -> PrivateKeyDer<'static> {
        match self.key {}
    }
}
