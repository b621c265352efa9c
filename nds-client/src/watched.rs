//! A value with one writer and many readers that can load it or wait for a change.

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

/// The writing half of a [`Watch`].
#[derive(Debug)]
pub struct WatchSender<T> {
    watch: Watch<T>,
    signal: watch::Sender<()>,
    /// Locked while a value is replaced, so that concurrent calls of [`modify`](Self::modify) lose no change.
    writing: Mutex<()>,
}

impl<T> WatchSender<T> {
    /// Creates a sender whose first value is `first`.
    #[cfg(any(test, fuzzing, feature = "test-util"))]
    pub fn new(first: T) -> Self {
        Self::with_first(first)
    }

    /// Creates a sender whose first value is `first`.
    pub(crate) fn with_first(first: T) -> Self {
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

    /// Applies `change` to a copy of the value and publishes the copy if `change` returns `true`. Returns whether the
    /// copy was published.
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
        let current = &self.watch.current;
        // The version changes before the value, so that a reader of the new value sees a new version. It changes again
        // after the value, so that a reader of the old value cannot mistake it for the new version.
        current.version.fetch_add(1, Release);
        current.value.store(value);
        current.version.fetch_add(1, Release);
        self.signal.send_replace(());
    }

    /// Returns the current value.
    #[must_use]
    pub fn load(&self) -> Ref<'_, T> {
        self.watch.load()
    }

    /// Returns a reading half that has seen only the first value.
    #[must_use]
    pub fn subscribe(&self) -> Watch<T> {
        self.watch.clone()
    }

    /// Returns whether a reading half exists.
    pub(crate) fn has_subscribers(&self) -> bool {
        // The sender itself holds one receiver.
        self.signal.receiver_count() > 1
    }
}

impl<T> WatchSender<Option<Arc<T>>> {
    /// Returns the current value, if there is one.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        self.watch.current()
    }
}

/// The reading half of a value that is replaced as a whole.
///
/// Clones read the same value. Each clone tracks separately which changes it has seen.
pub struct Watch<T> {
    current: Arc<Current<T>>,
    changes: watch::Receiver<()>,
}

struct Current<T> {
    value: ArcSwap<T>,
    version: AtomicU64,
}

/// A reference to a loaded value, for short use.
///
/// A `Ref` does not block the writer: a new value can be published while it exists.
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
    /// Creates a watch whose value never changes.
    pub fn constant(value: T) -> Self {
        WatchSender::with_first(value).subscribe()
    }

    /// Returns a reference to the current value. The method is wait-free and does not change the reference count of the
    /// value.
    #[must_use]
    #[inline]
    pub fn load(&self) -> Ref<'_, T> {
        Ref { guard: self.current.value.load(), watch: PhantomData }
    }

    /// Returns the current value as an `Arc`.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.current.value.load_full()
    }

    /// Returns a number that changes with each published value.
    ///
    /// A value derived from the contents is up to date while the version is the same as before the contents were loaded.
    /// Reading the version costs less than [`load`](Self::load).
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.current.version.load(Acquire)
    }

    /// Waits until a value is published that this handle has not seen, and marks it as seen. Returns `false` if the
    /// sender is gone, so that no further value can be published.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Returns whether a value was published that this handle has not seen.
    pub(crate) fn has_changed(&self) -> bool {
        self.changes.has_changed().unwrap_or(false)
    }

    /// Marks the current value as seen.
    pub(crate) fn mark_seen(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits until the value satisfies `condition` and returns the value. Returns `None` if the sender is gone before
    /// that.
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
    /// Returns the current value, if there is one. The method is wait-free.
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
    async fn a_reader_sees_each_value_and_the_end() {
        let sender = WatchSender::new(1);
        let mut reader = sender.subscribe();
        assert_eq!(*reader.get(), 1);
        let version = reader.version();
        sender.send(2);
        assert_eq!(*reader.get(), 2);
        assert_ne!(reader.version(), version);
        assert!(reader.changed().await);
        assert_eq!(reader.wait_for(|value| *value == 2).await.as_deref(), Some(&2));
        drop(sender);
        assert!(!reader.changed().await);
        assert_eq!(*reader.get(), 2, "the last value stays");
    }

    #[tokio::test]
    async fn a_modification_is_published_only_if_it_changes_the_value() {
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
    fn concurrent_modifications_are_all_applied() {
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
    fn a_reader_that_sees_a_new_value_sees_a_new_version() {
        let sender = WatchSender::new(0_u64);
        let reader = sender.subscribe();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=10_000).for_each(|value| sender.send(value)));
            let (mut version, mut value) = (reader.version(), *reader.load());
            while value < 10_000 {
                // An odd version was read during a publication, which changes it once more.
                let is_stable = version.is_multiple_of(2);
                let next = *reader.load();
                assert!(next == value || !is_stable || reader.version() != version, "{next}, {version}");
                (version, value) = (reader.version(), *reader.load());
            }
        });
    }

    #[test]
    fn a_sender_counts_its_subscribers() {
        let sender = WatchSender::new(0);
        assert!(!sender.has_subscribers());
        let reader = sender.subscribe();
        assert!(sender.has_subscribers());
        drop(reader);
        assert!(!sender.has_subscribers());
    }
}
