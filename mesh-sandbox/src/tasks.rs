//! Who owns the tasks: a group ends all of them when it is dropped or closed.

use std::future::Future;
use std::mem;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Tasks that live no longer than this group.
#[derive(Debug)]
pub(crate) struct TaskGroup {
    runtime: Handle,
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl TaskGroup {
    pub(crate) fn new(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), tasks: Mutex::new(Some(JoinSet::new())) }
    }

    /// Runs `task` until it ends or the group does. A closed group drops it unrun.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.lock().as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Aborts all tasks and refuses new ones; does not wait.
    pub(crate) fn abort(&self) {
        drop(self.tasks.lock().take());
    }

    /// Aborts all tasks, refuses new ones and waits until the last one is gone.
    pub(crate) async fn close(&self) {
        let tasks = mem::take(&mut *self.tasks.lock());
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}
