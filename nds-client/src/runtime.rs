//! What a running client works with beside its configuration: the clock, the network and the cryptography of its process.

use std::{sync::Arc, time::SystemTime};

use rustls::crypto::CryptoProvider;

use crate::{
    clock::Clock,
    config::Config,
    error::{Error, ErrorKind},
    transport::{System, Transport},
};

/// The configuration of a client and its surroundings. Neither changes while the client lives.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// The surroundings, as far as they are given.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) provider: Option<Arc<CryptoProvider>>,
}

impl Default for Surroundings {
    /// Those of the host.
    fn default() -> Self {
        Self { clock: Clock::system(), transport: Arc::new(System), provider: None }
    }
}

impl Runtime {
    pub(crate) fn new(config: Config, surroundings: Surroundings) -> Result<Self, Error> {
        let Surroundings { clock, transport, provider } = surroundings;
        let provider = provider.or_else(compiled_in).ok_or_else(|| {
            let what = "no crypto provider: enable the feature `aws-lc-rs` or `ring`, or give one to the client's builder";
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
