//! Who owns the tasks: a group ends all of them when it is dropped or closed.

use std::mem;
use std::sync::Arc;

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

/// Lets hyper spawn into a group.
#[derive(Clone, Debug)]
pub(crate) struct Executor(pub(crate) Arc<TaskGroup>);

impl Executor {
    /// A group of its own, which ends with its last clone.
    pub(crate) fn new() -> Self {
        Self(Arc::new(TaskGroup::new(&Handle::current())))
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.0.spawn(async move {
            task.await;
        });
    }
}
