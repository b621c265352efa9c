//! The values that a running client uses besides its configuration: clock, network, crypto provider.

use std::{sync::Arc, time::SystemTime};

use rustls::crypto::CryptoProvider;

use crate::{
    clock::Clock,
    config::Config,
    error::{Error, ErrorKind},
    transport::{System, Transport},
};

/// The configuration of a client, and the clock, network and crypto provider that it uses. None of them changes while
/// the client runs.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// The clock, network and crypto provider that a builder can replace. If `provider` is `None`, the client uses the
/// compiled-in crypto provider.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeOptions {
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) provider: Option<Arc<CryptoProvider>>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { clock: Clock::system(), transport: Arc::new(System), provider: None }
    }
}

impl Runtime {
    pub(crate) fn new(config: Config, options: RuntimeOptions) -> Result<Self, Error> {
        let RuntimeOptions { clock, transport, provider } = options;
        let provider = provider.or_else(compiled_in).ok_or_else(|| {
            let what = "no crypto provider: enable the feature `aws-lc-rs` or `ring`, or call `NdsClientBuilder::with_crypto_provider`";
            Error::new(ErrorKind::Config, what)
        })?;
        Ok(Self { config, clock, transport, provider })
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

#[cfg(feature = "aws-lc-rs")]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    None
}
