//! The request where no library that makes keys is compiled in.

use std::convert::Infallible;

use rustls_pki_types::PrivateKeyDer;

use crate::{
    config::KeyType,
    error::{Error, ErrorKind},
};

/// Never made.
pub(crate) struct SigningRequest {
    pub(crate) pem: String,
    key: Infallible,
}

impl SigningRequest {
    pub(crate) fn new(_: &str, _: &str, _: KeyType) -> Result<Self, Error> {
        let what = "nothing here makes keys: switch on the feature `aws-lc-rs` or `ring`, or give the files of a certificate that something else renews";
        Err(Error::new(ErrorKind::Config, what))
    }

    pub(crate) fn into_key(self) -> PrivateKeyDer<'static> {
        match self.key {}
    }
}
