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

/// How long the end of a mesh waits for its threads, at most: the system's name lookup cannot be called back. The others
/// end at once, but on a machine that has no time for them.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

pub(super) enum Threads {
    /// One needs none of what several need to share work, which is a tenth of what it costs to pass a small message on.
    One(One),
    Several(Runtime),
    Ended,
}

/// A thread with a runtime of its own.
pub(super) struct One {
    thread: JoinHandle<()>,
    /// Ends the thread when it is dropped.
    run: oneshot::Sender<()>,
    /// Disconnected when the thread has ended.
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
        builder.max_blocking_threads(1).thread_name(NAME).on_thread_stop(thread::end).enable_all();
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

    /// Ends the tasks and the threads, and waits for the threads or not.
    pub(super) fn end(&mut self, wait: bool) {
        match std::mem::replace(self, Self::Ended) {
            Self::One(one) => one.end(wait),
            Self::Several(runtime) if wait => runtime.shutdown_timeout(LAST_MOMENTS),
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
            // An error is the end of the sender.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(LAST_MOMENTS);
            drop(running);
        };
        let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(work)?;
        Ok(Self { thread, run, ended: Mutex::new(ended) })
    }

    fn end(self, wait: bool) {
        drop(self.run);
        let ended =
            || self.ended.into_inner().recv_timeout(LAST_MOMENTS) == Err(RecvTimeoutError::Disconnected);
        if wait && ended() {
            // It has nothing left to do.
            let _ = self.thread.join();
        }
    }
}
