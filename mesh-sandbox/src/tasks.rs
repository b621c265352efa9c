//! Task groups: dropping or closing a group ends its tasks.

use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// A group of tasks. The tasks end when the group is closed or dropped.
#[derive(Debug)]
pub(crate) struct TaskGroup {
    runtime: Handle,
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl TaskGroup {
    pub(crate) fn new(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), tasks: Mutex::new(Some(JoinSet::new())) }
    }

    /// Runs `task` until it ends or the group ends. A closed group drops the task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.lock().as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Aborts all tasks and rejects new ones, without waiting.
    pub(crate) fn abort(&self) {
        drop(self.tasks.lock().take());
    }

    /// Aborts all tasks, rejects new ones and waits until all have ended.
    pub(crate) async fn close(&self) {
        let tasks = mem::take(&mut *self.tasks.lock());
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

/// A hyper executor that spawns its tasks in a task group.
#[derive(Clone, Debug)]
pub(crate) struct Executor(pub(crate) Arc<TaskGroup>);

impl Executor {
    /// Creates an executor with a new task group, which ends when the last clone of the executor is dropped.
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
