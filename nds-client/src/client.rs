//! The handle that programs hold.

mod builder;

use std::{pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{error::Elapsed, timeout},
};
use tracing::{Instrument as _, Span, info_span};

pub use self::builder::ClientBuilder;
use crate::{
    certificates,
    config::Config,
    error::{Error, ErrorKind},
    health::{Health, SyncState},
    identity::Identity,
    resources::{cluster::Clusters, endpoint::Endpoints, name_table::NameTable},
    runtime::Runtime,
    state::State,
    state_dir::{self, Folder},
    subscriptions::EndpointsWatch,
    watch::Watch,
    xds,
};

/// A process in the mesh: its identity, and what istiod says about names, clusters and endpoints, kept live.
///
/// Clones share one connection to istiod. Dropping the last one ends the tasks behind it; handles taken from it
/// ([`names`](Self::names) and the like) keep the last values.
#[derive(Clone, Debug)]
pub struct NdsClient {
    state: Arc<State>,
    names: Watch<NameTable>,
    health: Watch<Health>,
    identity: Watch<Option<Arc<Identity>>>,
    clusters: Watch<Option<Arc<Clusters>>>,
    tasks: Arc<Tasks>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends its tasks with the last handle.
#[derive(Debug)]
struct Tasks {
    handles: [AbortHandle; 3],
    /// The tasks borrow it, so that its lock is free as soon as the client is gone.
    folder: Mutex<Option<Arc<Folder>>>,
}

impl Tasks {
    fn end(&self) {
        self.handles.iter().for_each(AbortHandle::abort);
        self.folder.lock().take();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

impl NdsClient {
    /// Begins to join the mesh, on the current tokio runtime, and returns at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: no crypto provider.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(config: Config) -> Result<Self, Error> {
        Self::builder(config).spawn()
    }

    /// Joins the mesh: [`spawn`](Self::spawn), then [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// Those of both.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn join(config: Config) -> Result<Self, Error> {
        Self::builder(config).join().await
    }

    /// Joins with a crypto provider of the caller's choice.
    pub fn builder(config: Config) -> ClientBuilder {
        ClientBuilder::new(config)
    }

    fn start(runtime: Runtime) -> Self {
        let state = Arc::new(State::new(runtime));
        let folder = state_dir::restore(&state).map(Arc::new);
        let config = &state.runtime.config;
        let span = info_span!(
            "nds_client",
            namespace = config.namespace,
            service_account = config.service_account,
            istiod = %config.istiod_address(),
        );
        let spawn = |span: Span, task: Task| tokio::spawn(task.instrument(span)).abort_handle();
        let handles = [
            spawn(info_span!(parent: &span, "identity"), Box::pin(certificates::run(state.clone()))),
            spawn(info_span!(parent: &span, "ads"), Box::pin(xds::driver::run(state.clone()))),
            spawn(
                info_span!(parent: &span, "state_folder"),
                Box::pin(state_dir::run(state.clone(), folder.as_ref().map(Arc::downgrade))),
            ),
        ];
        Self {
            names: state.published.names.subscribe(),
            health: state.health.subscribe(),
            identity: state.identity.subscribe(),
            clusters: state.published.clusters.subscribe(),
            tasks: Arc::new(Tasks { handles, folder: Mutex::new(folder) }),
            state,
        }
    }

    /// Waits for the certificate and the first name table, at most for the configured time. Those of the state folder
    /// count; [`Health::sync`] says where the table is from.
    ///
    /// # Errors
    ///
    /// At once where waiting cannot help: [`ErrorKind::Credentials`], [`ErrorKind::Unauthenticated`],
    /// [`ErrorKind::UntrustedServer`], [`ErrorKind::Config`]. [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`]
    /// after the time has passed. None of these where there is a table of the state folder: names are served then, and
    /// the health says what is wrong. The client goes on trying in any case.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut health = self.health.clone();
        let lasting = |health: &Health| {
            let errors = [&health.identity, &health.stream];
            errors.into_iter().flatten().find(|error| !error.kind().is_transient()).cloned()
        };
        let has_names = |health: &Health| health.sync != SyncState::Connecting;
        let reached = health.wait_for(|health| {
            has_names(health) && self.identity.load().is_some() || lasting(health).is_some()
        });
        match timeout(self.state.runtime.config.join_timeout, reached).await {
            Ok(Some(health)) if has_names(&health) => Ok(()),
            Ok(Some(health)) => Err(lasting(&health).unwrap_or_else(Error::closed)),
            Ok(None) => Err(Error::closed()),
            Err(_) if has_names(&self.health.load()) => Ok(()),
            Err(elapsed) => Err(self.no_answer("a certificate and the names", elapsed)),
        }
    }

    /// The configuration that this client joined with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.state.runtime.config
    }

    /// The name table: empty until the first one, then always the last good one.
    #[must_use]
    pub fn names(&self) -> &Watch<NameTable> {
        &self.names
    }

    /// The certificate, key and roots: `None` until the first issuance.
    #[must_use]
    pub fn identity(&self) -> &Watch<Option<Arc<Identity>>> {
        &self.identity
    }

    /// How the client is doing.
    #[must_use]
    pub fn health(&self) -> &Watch<Health> {
        &self.health
    }

    /// All clusters: `None` until istiod has sent them, then always the last good ones. The first call subscribes to them;
    /// [`wait_for_clusters`](Self::wait_for_clusters) waits for the answer.
    #[must_use]
    pub fn clusters(&self) -> &Watch<Option<Arc<Clusters>>> {
        self.state.subscriptions.subscribe_clusters();
        &self.clusters
    }

    /// The endpoints under a name of EDS. The first call for a name subscribes to it;
    /// [`wait_for_endpoints`](Self::wait_for_endpoints) waits for the answer. istiod answers any name: one that it does
    /// not know has no endpoints.
    #[must_use]
    pub fn endpoints(&self, eds_name: &str) -> EndpointsWatch {
        EndpointsWatch::new(&self.state.subscriptions, eds_name)
    }

    /// Counts the changes of endpoints, of all names together: a signal for readers of many
    /// [`EndpointsWatch`]es.
    #[must_use]
    pub fn endpoint_changes(&self) -> Watch<u64> {
        self.state.subscriptions.published()
    }

    /// The clusters, for which this waits at most `patience` where they have not come yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`], or the kind of the last failure to reach istiod.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the subscription.
    pub async fn wait_for_clusters(&self, patience: Duration) -> Result<Arc<Clusters>, Error> {
        let mut clusters = self.clusters().clone();
        if let Some(clusters) = clusters.current() {
            return Ok(clusters);
        }
        match timeout(patience, clusters.wait_for(Option::is_some)).await {
            Ok(clusters) => clusters.and_then(|clusters| (*clusters).clone()).ok_or_else(Error::closed),
            Err(elapsed) => Err(self.no_answer("the clusters", elapsed)),
        }
    }

    /// The endpoints under a name of EDS, for which this waits at most `patience` where they have not come yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`], or the kind of the last failure to reach istiod.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the subscription.
    pub async fn wait_for_endpoints(
        &self,
        eds_name: &str,
        patience: Duration,
    ) -> Result<Arc<Endpoints>, Error> {
        let mut endpoints = self.endpoints(eds_name);
        if let Some(endpoints) = endpoints.current() {
            return Ok(endpoints);
        }
        match timeout(patience, endpoints.wait_for(|_| true)).await {
            Ok(endpoints) => endpoints.ok_or_else(Error::closed),
            Err(elapsed) => Err(self.no_answer(&format!("the endpoints of {eds_name}"), elapsed)),
        }
    }

    /// Ends the connection to istiod and the tasks behind it, for all clones. What was published stays readable.
    pub fn shutdown(&self) {
        self.tasks.end();
    }

    /// What to say when istiod has not answered in time: why it could not be reached, where that is known.
    fn no_answer(&self, what: &str, elapsed: Elapsed) -> Error {
        let health = self.health.load();
        match health.identity.as_ref().or(health.stream.as_ref()) {
            Some(error) => error.clone(),
            None => {
                let message = format!(
                    "istiod at {} has not sent {what} in time",
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

    /// Waits until the state folder satisfies `condition`, which is checked now and after each write.
    pub(crate) async fn persisted(&self, condition: impl Fn() -> bool) {
        let mut writes = self.state.persisted.subscribe();
        while !condition() {
            writes.changed().await.unwrap();
        }
    }
}
