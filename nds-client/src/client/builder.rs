//! Joining a mesh with other surroundings than the host's.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::NdsClient;
#[cfg(test)]
use crate::{clock::Clock, transport::Transport};
use crate::{
    config::Config,
    error::Error,
    runtime::{Runtime, Surroundings},
};

/// A client that is about to join: a configuration, and what the running client uses beside it.
///
/// # Examples
///
/// ```no_run
/// # async fn example(provider: rustls::crypto::CryptoProvider) -> Result<(), nds_client::Error> {
/// use nds_client::{Config, NdsClient};
///
/// let config = Config::from_vm_files("/var/lib/sidestep")?;
/// let client = NdsClient::builder(config).with_crypto_provider(provider).join().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    config: Config,
    surroundings: Surroundings,
}

impl ClientBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, surroundings: Surroundings::default() }
    }

    /// The crypto provider of every TLS connection: aws-lc-rs where that feature is enabled, else ring. Nothing is
    /// installed process-wide.
    pub fn with_crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.surroundings.provider = Some(provider.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.surroundings.clock = clock;
        self
    }

    #[cfg(test)]
    pub(crate) fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.surroundings.transport = transport;
        self
    }

    /// As [`NdsClient::spawn`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): no crypto provider.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> Result<NdsClient, Error> {
        Ok(NdsClient::start(Runtime::new(self.config, self.surroundings)?))
    }

    /// As [`NdsClient::join`].
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and of [`NdsClient::ready`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn join(self) -> Result<NdsClient, Error> {
        let client = self.spawn()?;
        client.ready().await?;
        Ok(client)
    }
}
