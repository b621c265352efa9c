//! The threads that run a mesh's tasks.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

use crate::thread::{self, Reports};

const NAME: &str = "sidestep";

/// The maximum time that freeing a mesh waits for its threads. The system's `getaddrinfo` cannot be interrupted.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of threads for calls that block: the system's `getaddrinfo` and writes to the state directory. A
/// thread is started only if no other is idle, and ends after ten idle seconds.
///
/// `getaddrinfo` takes as long as the slowest source of nsswitch.conf. `mesh-resolver` makes up to eight calls at a
/// time for the mesh, and eight for a DNS server with a bridge. These calls must not delay the resolution of istiod's
/// name.
const MAX_BLOCKING: usize = 32;

pub(super) enum Threads {
    /// One thread. A single thread needs no work stealing, so small messages are faster than with several threads
    /// (`mesh-bench ffi` measures it).
    One(One),
    Several(Runtime),
    Ended,
}

/// A thread that runs a current-thread runtime.
pub(super) struct One {
    thread: JoinHandle<()>,
    /// Dropping the sender ends the thread.
    run: oneshot::Sender<()>,
    /// A channel that is disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

impl Threads {
    pub(super) fn start(count: usize, reports: Reports) -> io::Result<(Self, Handle)> {
        let mut builder = match count {
            1 => Builder::new_current_thread(),
            several => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(several);
                builder
            }
        };
        builder.max_blocking_threads(MAX_BLOCKING).thread_name(NAME).on_thread_stop(thread::end).enable_all();
        builder.on_thread_start({
            let reports = reports.clone();
            move || thread::begin(&reports)
        });
        let runtime = builder.build()?;
        let handle = runtime.handle().clone();
        let threads = match count {
            1 => Self::One(One::start(runtime, reports)?),
            _ => Self::Several(runtime),
        };
        Ok((threads, handle))
    }

    /// Ends the tasks and the threads. Waits for the threads if `wait` is true.
    pub(super) fn end(&mut self, wait: bool) {
        match std::mem::replace(self, Self::Ended) {
            Self::One(one) => one.end(wait),
            Self::Several(runtime) if wait => runtime.shutdown_timeout(END_TIMEOUT),
            Self::Several(runtime) => runtime.shutdown_background(),
            Self::Ended => {}
        }
    }
}

impl One {
    fn start(runtime: Runtime, reports: Reports) -> io::Result<Self> {
        let (run, stopped) = oneshot::channel::<()>();
        let (running, ended) = channel();
        let work = move || {
            let _reporting = thread::begun(&reports);
            // An error means that the sender was dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(END_TIMEOUT);
            drop(running);
        };
        let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(work)?;
        Ok(Self { thread, run, ended: Mutex::new(ended) })
    }

    fn end(self, wait: bool) {
        drop(self.run);
        let ended =
            || self.ended.into_inner().recv_timeout(END_TIMEOUT) == Err(RecvTimeoutError::Disconnected);
        if wait && ended() {
            // The thread has ended its work, so this does not wait.
            let _ = self.thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn calls_that_hang_do_not_delay_others() {
        let reports = Reports { recorder: Arc::default(), log: None, gate: Arc::default() };
        let (mut threads, handle) = Threads::start(1, reports).unwrap();
        let mut hanging = Vec::new();
        // As many system lookups as mesh-resolver makes for a mesh and a DNS server.
        for _ in 0..16 {
            let (end, wait) = channel::<()>();
            hanging.push(end);
            handle.spawn_blocking(move || wait.recv());
        }
        let (done, is_done) = channel();
        handle.spawn_blocking(move || done.send(()));
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(hanging);
        threads.end(true);
    }
}
