//! The client: the handle that programs use.

mod builder;
mod tasks;

use std::{sync::Arc, time::Duration};

use tokio::time::{error::Elapsed, timeout};
use tracing::info_span;

pub use self::builder::NdsClientBuilder;
use self::tasks::Tasks;
use crate::{
    config::Config,
    error::{Error, ErrorKind},
    health::{Health, SyncState},
    identity::Identity,
    resources::{cluster::Clusters, endpoint::Endpoints, name_table::NameTable},
    runtime::Runtime,
    state::State,
    state_dir,
    subscriptions::EndpointsWatch,
    watched::Watch,
};

/// A workload in the mesh: its identity, and the names, clusters and endpoints that istiod pushes.
///
/// Clones share one connection to istiod. Dropping the last clone aborts the tasks of the client;
/// [`shutdown`](Self::shutdown) also waits for the last write of the state directory. After that, watches that were
/// taken from the client ([`names`](Self::names), [`identity`](Self::identity), …) keep their last values, and
/// [`health`](Self::health) reports that they are stale ([`SyncState::Stale`], [`ErrorKind::Closed`]). The same happens
/// if the tokio runtime of the client ends.
///
/// A task of the client that panics is reported in the health ([`ErrorKind::Internal`]) and starts again.
#[derive(Clone, Debug)]
pub struct NdsClient {
    state: Arc<State>,
    names: Watch<NameTable>,
    health: Watch<Health>,
    identity: Watch<Option<Arc<Identity>>>,
    clusters: Watch<Option<Arc<Clusters>>>,
    tasks: Arc<Tasks>,
}

impl NdsClient {
    /// Starts to join the mesh on the current tokio runtime and returns immediately.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: no crypto provider is set, and the features `aws-lc-rs` and `ring` are disabled.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn(config: Config) -> Result<Self, Error> {
        Self::builder(config).spawn()
    }

    /// Joins the mesh: [`spawn`](Self::spawn), then [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and of [`ready`](Self::ready).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the client.
    pub async fn join(config: Config) -> Result<Self, Error> {
        Self::builder(config).join().await
    }

    /// Returns a builder with this configuration, for further settings such as the crypto provider.
    pub fn builder(config: Config) -> NdsClientBuilder {
        NdsClientBuilder::new(config)
    }

    fn start(runtime: Runtime) -> Self {
        let state = Arc::new(State::new(runtime));
        let directory = state_dir::restore(&state);
        let config = &state.runtime.config;
        let span = info_span!(
            "nds_client",
            namespace = config.namespace,
            service_account = config.service_account,
            istiod = %config.istiod_address(),
        );
        Self {
            names: state.published.names.subscribe(),
            health: state.health.subscribe(),
            identity: state.identity.subscribe(),
            clusters: state.published.clusters.subscribe(),
            tasks: Arc::new(Tasks::start(&state, directory, &span)),
            state,
        }
    }

    /// Waits for the certificate and the first name table, at most for the configured time
    /// ([`join_timeout`](Config::join_timeout)).
    ///
    /// A certificate and a name table from the state directory are sufficient. [`Health::sync`] contains the origin of
    /// the table.
    ///
    /// # Errors
    ///
    /// If a retry cannot succeed, the call fails immediately with [`ErrorKind::Credentials`],
    /// [`ErrorKind::Unauthenticated`], [`ErrorKind::UntrustedServer`] or [`ErrorKind::Config`]. After the configured
    /// time, it fails with [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`]. If there is a name table, for example
    /// from the state directory, the call succeeds in all these cases, because names can be resolved;
    /// [`health`](Self::health) contains the error. The client continues to retry after an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the client.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut health = self.health.clone();
        let permanent = |health: &Health| {
            let errors = [&health.identity, &health.stream];
            errors.into_iter().flatten().find(|error| !error.is_transient()).cloned()
        };
        let has_names = |health: &Health| health.sync != SyncState::Connecting;
        let reached = health.wait_for(|health| {
            has_names(health) && self.identity.load().is_some() || permanent(health).is_some()
        });
        match timeout(self.state.runtime.config.join_timeout, reached).await {
            Ok(Some(health)) if has_names(&health) => Ok(()),
            Ok(Some(health)) => Err(permanent(&health).unwrap_or_else(Error::closed)),
            Ok(None) => Err(Error::closed()),
            Err(_) if has_names(&self.health.load()) => Ok(()),
            Err(elapsed) => Err(self.no_answer("a certificate and the name table", elapsed)),
        }
    }

    /// Returns the configuration of this client.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.state.runtime.config
    }

    /// Returns a watch of the name table. The table is empty before the first push, afterwards the last valid one.
    #[must_use]
    pub fn names(&self) -> &Watch<NameTable> {
        &self.names
    }

    /// Returns a watch of the identity: certificate, key and roots. The value is `None` before the first certificate.
    #[must_use]
    pub fn identity(&self) -> &Watch<Option<Arc<Identity>>> {
        &self.identity
    }

    /// Returns a watch of the health of the client.
    #[must_use]
    pub fn health(&self) -> &Watch<Health> {
        &self.health
    }

    /// Returns a watch of all clusters. The value is `None` before the first push of clusters, afterwards the last
    /// valid clusters.
    ///
    /// The first call subscribes to clusters; [`wait_for_clusters`](Self::wait_for_clusters) waits for the response.
    #[must_use]
    pub fn clusters(&self) -> &Watch<Option<Arc<Clusters>>> {
        self.state.subscriptions.subscribe_clusters();
        &self.clusters
    }

    /// Returns a watch of the endpoints of a cluster. `eds_name` is the resource name of these endpoints in EDS
    /// ([`Cluster::eds_name`](crate::resources::cluster::Cluster::eds_name)).
    ///
    /// The first call for a name subscribes to it; [`wait_for_endpoints`](Self::wait_for_endpoints) waits for the
    /// response. istiod also answers an unknown name: with an empty list of endpoints.
    #[must_use]
    pub fn endpoints(&self, eds_name: &str) -> EndpointsWatch {
        EndpointsWatch::new(&self.state.subscriptions, eds_name)
    }

    /// Returns a watch of a counter that increases when the endpoints of any EDS name change. A reader of many
    /// [`EndpointsWatch`]es can wait for this one watch instead.
    #[must_use]
    pub fn endpoint_changes(&self) -> Watch<u64> {
        self.state.subscriptions.published()
    }

    /// Returns all clusters. Before the first push of clusters, waits for it up to `limit`.
    ///
    /// # Errors
    ///
    /// istiod does not answer within `limit`: the last error of the certificate request or of the connection to istiod;
    /// without such an error, [`ErrorKind::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not end the subscription.
    pub async fn wait_for_clusters(&self, limit: Duration) -> Result<Arc<Clusters>, Error> {
        let mut clusters = self.clusters().clone();
        if let Some(clusters) = clusters.current() {
            return Ok(clusters);
        }
        match timeout(limit, clusters.wait_for(Option::is_some)).await {
            Ok(clusters) => clusters.and_then(|clusters| (*clusters).clone()).ok_or_else(Error::closed),
            Err(elapsed) => Err(self.no_answer("the clusters", elapsed)),
        }
    }

    /// Returns the endpoints of an EDS name. Before the first push of these endpoints, waits for it up to `limit`.
    ///
    /// # Errors
    ///
    /// istiod does not answer within `limit`: the last error of the certificate request or of the connection to istiod;
    /// without such an error, [`ErrorKind::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not end the subscription.
    pub async fn wait_for_endpoints(&self, eds_name: &str, limit: Duration) -> Result<Arc<Endpoints>, Error> {
        let mut endpoints = self.endpoints(eds_name);
        if let Some(endpoints) = endpoints.current() {
            return Ok(endpoints);
        }
        match timeout(limit, endpoints.wait_for(|_| true)).await {
            Ok(endpoints) => endpoints.ok_or_else(Error::closed),
            Err(elapsed) => Err(self.no_answer(&format!("the endpoints of {eds_name}"), elapsed)),
        }
    }

    /// Shuts the client down, for all clones: closes the connection to istiod, writes the latest changes to the state
    /// directory, and waits until the tasks have ended.
    ///
    /// The call waits at most 5 seconds; after that it logs a warning and aborts the tasks. Watches keep the last
    /// values; the health reports [`ErrorKind::Closed`]. Further calls have no effect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo the shutdown: the tasks still end, and a later call waits for them.
    pub async fn shutdown(&self) {
        self.tasks.shut_down().await;
    }

    /// Returns the error for a response (`what`) that istiod did not send in time: the last error of the certificate
    /// request or of the stream; without one, a timeout.
    fn no_answer(&self, what: &str, elapsed: Elapsed) -> Error {
        let health = self.health.load();
        match health.identity.as_ref().or(health.stream.as_ref()) {
            Some(error) => error.clone(),
            None => {
                let message = format!(
                    "istiod at {} has not sent {what} in time: check the log of istiod",
                    self.state.runtime.config.istiod_address()
                );
                Error::with_source(ErrorKind::Timeout, message, elapsed)
            }
        }
    }
}

#[cfg(test)]
impl NdsClient {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Waits until the state directory satisfies `condition`. Checks the condition now and after each write.
    pub(crate) async fn persisted(&self, condition: impl Fn() -> bool) {
        let mut writes = self.state.persisted.subscribe();
        while !condition() {
            writes.changed().await.unwrap();
        }
    }
}

#[cfg(test)]
mod tests;
