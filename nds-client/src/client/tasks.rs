//! The tasks of a client and their shutdown.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use crate::state_dir::Directory;

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
    pub(super) fn new(
        connected: Vec<JoinHandle<()>>,
        writer: JoinHandle<()>,
        stop_writer: watch::Sender<bool>,
        directory: Option<Arc<Directory>>,
    ) -> Self {
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
