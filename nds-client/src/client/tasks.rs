//! The tasks of a client, their supervision and their shutdown.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sidestep_util::supervisor::{OnDrop, supervise};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use tracing::{Instrument as _, Span, info_span};

use crate::{
    certificates,
    error::Error,
    health::{HealthReporter, StateDirPart},
    state::State,
    state_dir::{self, Directory},
    xds,
};

/// The longest time that a shutdown waits for the tasks.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks of a client. Dropping the value aborts them.
#[derive(Debug)]
pub(super) struct Tasks {
    /// The tasks that a shutdown aborts immediately: those of the certificate and of the xDS stream.
    connected: Vec<AbortHandle>,
    /// The task that writes the state directory. At a shutdown it ends after its last write.
    writer: AbortHandle,
    stop_writer: watch::Sender<bool>,
    /// The tasks whose end [`shut_down`](Self::shut_down) still has to wait for.
    running: AsyncMutex<Vec<JoinHandle<()>>>,
    /// The state directory; `None` if none is configured, and after a shutdown. The tasks hold only weak references to
    /// it, so that its lock is released when the client is dropped.
    directory: Mutex<Option<Arc<Directory>>>,
}

impl Tasks {
    /// Starts the tasks. `span` encloses their events.
    ///
    /// A task that panics is reported in the health and starts again. When all tasks have ended, because the client was
    /// shut down or its runtime has ended, the health reports it too.
    pub(super) fn start(state: &Arc<State>, directory: Option<Directory>, span: &Span) -> Self {
        let directory = directory.map(Arc::new);
        let (stop_writer, stop) = watch::channel(false);
        let ended = Arc::new(OnDrop::new({
            let state = state.clone();
            move || state.health.ended()
        }));
        let spawner = Spawner { state, ended };
        let identity = info_span!(parent: span, "identity");
        let identity = spawner.spawn("identity", identity, certificates::run, |health, error| {
            health.identity(Some(error));
        });
        let xds = info_span!(parent: span, "xds");
        let xds = spawner.spawn("xds", xds, xds::driver::run, |health, error| {
            health.stream_failed(None, Some(error));
        });
        let (writer, weak) = (info_span!(parent: span, "state_dir"), directory.as_ref().map(Arc::downgrade));
        let write = move |state| state_dir::run(state, weak.clone(), stop.clone());
        let writer = spawner.spawn("state_dir", writer, write, |health, error| {
            health.state_dir(StateDirPart::Directory, Some(error));
        });
        let connected = vec![identity, xds];
        Self {
            connected: connected.iter().map(JoinHandle::abort_handle).collect(),
            writer: writer.abort_handle(),
            stop_writer,
            running: AsyncMutex::new(connected.into_iter().chain([writer]).collect()),
            directory: Mutex::new(directory),
        }
    }

    /// Stops the tasks, waits until they have ended, and releases the state directory.
    pub(super) async fn shut_down(&self) {
        self.connected.iter().for_each(AbortHandle::abort);
        self.stop_writer.send_replace(true);
        if timeout(SHUTDOWN_TIMEOUT, self.ended()).await.is_err() {
            tracing::warn!(
                timeout = ?SHUTDOWN_TIMEOUT,
                "the tasks of the client did not end in time: the state directory may not contain the latest changes"
            );
            self.abort();
        }
        self.directory.lock().take();
    }

    async fn ended(&self) {
        let mut running = self.running.lock().await;
        while let Some(task) = running.last_mut() {
            // An aborted task ends with an error.
            let _ = task.await;
            running.pop();
        }
    }

    fn abort(&self) {
        self.connected.iter().for_each(AbortHandle::abort);
        self.writer.abort();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Starts the tasks of one client.
struct Spawner<'a, G> {
    state: &'a Arc<State>,
    /// A guard that the tasks share. It is dropped when the last task ends.
    ended: Arc<G>,
}

impl<G: Send + Sync + 'static> Spawner<'_, G> {
    /// Starts a task that is started again after a panic. `report` records the error of a panic.
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        span: Span,
        task: impl Fn(Arc<State>) -> F + Send + Sync + 'static,
        report: impl Fn(&HealthReporter, Error) + Send + Sync + 'static,
    ) -> JoinHandle<()> {
        let (state, ended) = (self.state.clone(), self.ended.clone());
        let supervised = async move {
            let _ended = ended;
            let panicked = |delay| {
                let error = Error::panicked(name, delay);
                tracing::error!(error = error.report(), "a task panicked");
                report(&state.health, error);
            };
            supervise(|| task(state.clone()), panicked).await;
        };
        tokio::spawn(supervised.instrument(span))
    }
}
