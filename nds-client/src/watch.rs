//! A value that one task publishes and everybody reads: wait-free to load, with a signal for readers that wait.

use std::{
    fmt,
    marker::PhantomData,
    ops::Deref,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The writing side of a [`Watch`].
#[derive(Debug)]
pub struct WatchSender<T> {
    watch: Watch<T>,
    signal: watch::Sender<()>,
    /// Held while a value is replaced, so that [`modify`](Self::modify) loses no other change.
    writing: Mutex<()>,
}

impl<T> WatchSender<T> {
    /// Publishes `first` as the first value.
    pub fn new(first: T) -> Self {
        let (signal, changes) = watch::channel(());
        let current = Current { value: ArcSwap::from_pointee(first), version: AtomicU64::new(0) };
        let watch = Watch { current: Arc::new(current), changes };
        Self { watch, signal, writing: Mutex::new(()) }
    }

    /// Replaces the value and wakes all waiting readers.
    pub fn send(&self, value: impl Into<Arc<T>>) {
        let _writing = self.writing.lock();
        self.replace(value.into());
    }

    /// Changes a copy of the value, and publishes the copy if `change` returns `true`. Returns whether it did.
    pub fn modify(&self, change: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        let _writing = self.writing.lock();
        let mut value = T::clone(&self.load());
        let changed = change(&mut value);
        if changed {
            self.replace(Arc::new(value));
        }
        changed
    }

    fn replace(&self, value: Arc<T>) {
        self.watch.current.value.store(value);
        self.watch.current.version.fetch_add(1, Release);
        self.signal.send_replace(());
    }

    /// The value that was published last.
    #[must_use]
    pub fn load(&self) -> Ref<'_, T> {
        self.watch.load()
    }

    /// A reading side, which has seen no value but the first.
    #[must_use]
    pub fn subscribe(&self) -> Watch<T> {
        self.watch.clone()
    }

    /// Whether a reading side exists.
    pub(crate) fn has_subscribers(&self) -> bool {
        // One is our own.
        self.signal.receiver_count() > 1
    }
}

impl<T> WatchSender<Option<Arc<T>>> {
    /// The value that was published last, if any.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        self.watch.current()
    }
}

/// The reading side of a value that changes as a whole. Clones see the same value; each waits for changes on its own.
pub struct Watch<T> {
    current: Arc<Current<T>>,
    changes: watch::Receiver<()>,
}

struct Current<T> {
    value: ArcSwap<T>,
    version: AtomicU64,
}

/// A loaded value, without a reference count of its own: for a short look. Replacing the value never waits for it.
pub struct Ref<'a, T> {
    guard: Guard<Arc<T>>,
    watch: PhantomData<&'a Watch<T>>,
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T> Watch<T> {
    /// The current value, for a short look: it counts no reference. Wait-free.
    #[must_use]
    #[inline]
    pub fn load(&self) -> Ref<'_, T> {
        Ref { guard: self.current.value.load(), watch: PhantomData }
    }

    /// The current value, to keep.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.current.value.load_full()
    }

    /// How many values have followed the first one. What was derived from a value that was loaded after this number was read
    /// holds while the number is the same, and looking at it costs less than [`load`](Self::load).
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.current.version.load(Acquire)
    }

    /// Waits until a value is published that this handle has not seen, and marks it as seen. `false` when no
    /// further value can come, because the sender is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Marks the current value as seen.
    pub(crate) fn mark_seen(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits until the value satisfies `condition`, and returns it. `None` when the sender is gone before that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Option<Arc<T>> {
        loop {
            self.changes.borrow_and_update();
            let value = self.get();
            if condition(&value) {
                return Some(value);
            }
            if !self.changed().await {
                return None;
            }
        }
    }
}

impl<T> Watch<Option<Arc<T>>> {
    /// The current value, if there is one. Wait-free.
    #[must_use]
    #[inline]
    pub fn current(&self) -> Option<Arc<T>> {
        self.load().clone()
    }
}

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone(), changes: self.changes.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&*self.load()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_each_value_and_then_the_end() {
        let sender = WatchSender::new(1);
        let mut reader = sender.subscribe();
        assert_eq!((*reader.get(), reader.version()), (1, 0));
        sender.send(2);
        assert_eq!((*reader.get(), reader.version()), (2, 1));
        assert!(reader.changed().await);
        assert_eq!(reader.wait_for(|value| *value == 2).await.as_deref(), Some(&2));
        drop(sender);
        assert!(!reader.changed().await);
        assert_eq!(*reader.get(), 2, "the last value stays");
    }

    #[tokio::test]
    async fn a_modification_is_published_only_where_it_changes_something() {
        let sender = WatchSender::new(1);
        let reader = sender.subscribe();
        assert!(!sender.modify(|_| false));
        assert!(!reader.changes.has_changed().unwrap());
        assert!(sender.modify(|value| {
            *value += 1;
            true
        }));
        assert!(reader.changes.has_changed().unwrap());
        assert_eq!(*reader.load(), 2);
    }

    #[test]
    fn modifications_from_several_threads_are_all_kept() {
        let sender = WatchSender::new(0);
        let add = || {
            (0..1000).for_each(|_| {
                assert!(sender.modify(|value| {
                    *value += 1;
                    true
                }))
            })
        };
        std::thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(add);
        });
        assert_eq!(*sender.load(), 2000);
    }

    #[test]
    fn a_sender_knows_whether_anybody_reads() {
        let sender = WatchSender::new(0);
        assert!(!sender.has_subscribers());
        let reader = sender.subscribe();
        assert!(sender.has_subscribers());
        drop(reader);
        assert!(!sender.has_subscribers());
    }
}
