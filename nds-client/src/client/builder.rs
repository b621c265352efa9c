//! The builder of a client.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::NdsClient;
#[cfg(test)]
use crate::{clock::Clock, transport::Transport};
use crate::{
    config::Config,
    error::Error,
    runtime::{Runtime, RuntimeOptions},
};

/// Builds an [`NdsClient`] from a [`Config`] and from settings that a [`Config`] does not contain, such as the crypto
/// provider.
///
/// # Examples
///
/// ```no_run
/// # async fn example(provider: nds_client::rustls::crypto::CryptoProvider) -> Result<(), nds_client::Error> {
/// use nds_client::{Config, NdsClient};
///
/// let config = Config::from_vm_files("/var/lib/sidestep")?;
/// let client = NdsClient::builder(config).with_crypto_provider(provider).join().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NdsClientBuilder {
    config: Config,
    options: RuntimeOptions,
}

impl NdsClientBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, options: RuntimeOptions::default() }
    }

    /// Sets the crypto provider of all TLS connections. The default is aws-lc-rs if the feature `aws-lc-rs` is enabled,
    /// else ring if the feature `ring` is enabled.
    ///
    /// The process-wide default provider of rustls is neither read nor changed.
    pub fn with_crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.options.provider = Some(provider.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.options.clock = clock;
        self
    }

    #[cfg(test)]
    pub(crate) fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.options.transport = transport;
        self
    }

    /// Starts the client, as [`NdsClient::spawn`] does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): no crypto provider is set, and the features `aws-lc-rs` and
    /// `ring` are disabled.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn(self) -> Result<NdsClient, Error> {
        Ok(NdsClient::start(Runtime::new(self.config, self.options)?))
    }

    /// Starts the client and waits until it is ready, as [`NdsClient::join`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and of [`NdsClient::ready`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the client.
    pub async fn join(self) -> Result<NdsClient, Error> {
        let client = self.spawn()?;
        client.ready().await?;
        Ok(client)
    }
}
