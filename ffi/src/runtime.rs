//! The threads of a mesh: one that works, and one more while the system's own name lookup is asked. They sleep while
//! nothing happens.

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
    status::{SIDESTEP_CLOSED, SIDESTEP_TIMEOUT, SIDESTEP_WOULD_DEADLOCK},
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
            .map_err(|error| Failure::of_system("no thread for the mesh", &error))?;
        Ok(Self { threads, handle, log })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Does something on the mesh's threads, and waits for it: for `patience` at most, where there is a limit.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        patience: Option<Duration>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        refuse_callbacks()?;
        let (done, wait) = sync_channel(1);
        // Connecting is some kilobytes, which are not to be moved from hand to hand.
        let work = Box::pin(work);
        let task = self.handle.spawn(async move {
            // Nobody waits any more where it fails.
            let _ = done.send(work.await);
        });
        let ended = || Failure::new(SIDESTEP_CLOSED, "the mesh ended while a call was under way");
        let Some(patience) = patience else {
            return wait.recv().map_err(|_| ended());
        };
        wait.recv_timeout(patience).map_err(|why| match why {
            RecvTimeoutError::Disconnected => ended(),
            RecvTimeoutError::Timeout => {
                task.abort();
                Failure::new(SIDESTEP_TIMEOUT, format!("nothing came of it within {patience:?}"))
            }
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // One of its own threads cannot wait for itself to end.
        self.threads.end(Handle::try_current().is_err());
        // Whatever has not ended says no more: what the program gave for its log may go now.
        self.log.close();
    }
}

/// A call that blocks cannot be made on the mesh's own threads: a log callback is on one.
pub(crate) fn refuse_callbacks() -> Result<(), Failure> {
    if thread::is_a_meshs() {
        let message = "a blocking call was made from a log callback";
        return Err(Failure::new(SIDESTEP_WOULD_DEADLOCK, message));
    }
    Ok(())
}
