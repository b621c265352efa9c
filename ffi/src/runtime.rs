//! The runtime of a mesh: its worker threads, and threads for calls that block, such as the system's `getaddrinfo`.
//! Idle threads sleep.

mod threads;

use std::{
    future::Future,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use self::threads::Threads;

use crate::{
    failure::Failure,
    log::Gate,
    status::{SIDESTEP_E_CLOSED, SIDESTEP_E_TIMEOUT, SIDESTEP_E_WOULD_DEADLOCK},
    thread::{self, Reports},
};

pub(crate) struct Runtime {
    threads: Threads,
    handle: Handle,
    log: Arc<Gate>,
}

impl Runtime {
    pub(crate) fn start(workers: usize, reports: Reports) -> Result<Self, Failure> {
        let log = reports.gate.clone();
        let (threads, handle) = Threads::start(workers, reports)
            .map_err(|error| Failure::of_system("cannot start a thread for the mesh", &error))?;
        Ok(Self { threads, handle, log })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future on the mesh's threads and waits for its result, for at most `patience`. `None` waits without a
    /// limit.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        patience: Option<Duration>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        refuse_callbacks()?;
        let (done, wait) = sync_channel(1);
        // The future of a connection has several kilobytes. Boxing it avoids copies.
        let work = Box::pin(work);
        let task = self.handle.spawn(async move {
            // An error means that the caller has stopped waiting.
            let _ = done.send(work.await);
        });
        let ended = || Failure::new(SIDESTEP_E_CLOSED, "the mesh was freed during the call");
        let Some(patience) = patience else {
            return wait.recv().map_err(|_| ended());
        };
        wait.recv_timeout(patience).map_err(|why| match why {
            RecvTimeoutError::Disconnected => ended(),
            RecvTimeoutError::Timeout => {
                task.abort();
                Failure::new(SIDESTEP_E_TIMEOUT, format!("the call did not finish within {patience:?}"))
            }
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Does not wait on a thread of the mesh, because that thread would wait for itself.
        self.threads.end(Handle::try_current().is_err());
        // Threads that still run must not call the log callback, because the program may free its `user_data` now.
        self.log.close();
    }
}

/// Fails if the current thread belongs to a mesh, because a blocking call would deadlock there. Log callbacks run on
/// these threads.
pub(crate) fn refuse_callbacks() -> Result<(), Failure> {
    if thread::belongs_to_mesh() {
        let message = "a log callback called a function that blocks";
        return Err(Failure::new(SIDESTEP_E_WOULD_DEADLOCK, message));
    }
    Ok(())
}
