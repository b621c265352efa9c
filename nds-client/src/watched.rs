//! A value that one task publishes and everybody reads: wait-free to read, with a signal for those who wait.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

/// The writing side of a [`Watched`] value.
#[derive(Debug)]
pub struct Publisher<T> {
    watched: Watched<T>,
    signal: watch::Sender<()>,
}

impl<T> Publisher<T> {
    /// Publishes `first` as the first value.
    pub fn new(first: T) -> Self {
        let (signal, changes) = watch::channel(());
        let current = Current { value: ArcSwap::from_pointee(first), version: AtomicU64::new(0) };
        Self { watched: Watched { current: Arc::new(current), changes }, signal }
    }

    /// Replaces the value and wakes whoever waits for a change.
    pub fn publish(&self, value: Arc<T>) {
        self.watched.current.value.store(value);
        self.watched.current.version.fetch_add(1, Release);
        self.signal.send_replace(());
    }

    /// The value that was published last.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.watched.load()
    }

    /// A reading side.
    pub fn watched(&self) -> Watched<T> {
        self.watched.clone()
    }
}

/// A value that changes as a whole. Clones see the same value; each waits for changes on its own.
pub struct Watched<T> {
    current: Arc<Current<T>>,
    changes: watch::Receiver<()>,
}

struct Current<T> {
    value: ArcSwap<T>,
    version: AtomicU64,
}

impl<T> Watched<T> {
    /// The current value, without a reference count: for a look that ends soon. Wait-free.
    #[must_use]
    #[inline]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.current.value.load()
    }

    /// The current value, to keep.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.current.value.load_full()
    }

    /// How many values have been published since the first one. What was derived from a value that was loaded after this
    /// number was read still holds while the number is the same: to look at it costs less than [`load`](Self::load).
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.current.version.load(Acquire)
    }

    /// Waits until a value is published that this handle has not seen, and marks it as seen. `false` when no
    /// further value can come, because the publisher is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Waits until the value satisfies `condition`, and returns it. `None` when the publisher is gone before that.
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

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone(), changes: self.changes.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&*self.load()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_each_value_and_then_the_end() {
        let publisher = Publisher::new(1);
        let mut reader = publisher.watched();
        assert_eq!((*reader.get(), reader.version()), (1, 0));
        publisher.publish(Arc::new(2));
        assert_eq!((*reader.get(), reader.version()), (2, 1));
        assert!(reader.changed().await);
        assert_eq!(reader.wait_for(|value| *value == 2).await.as_deref(), Some(&2));
        drop(publisher);
        assert!(!reader.changed().await);
        assert_eq!(*reader.get(), 2, "the last value stays");
    }
}
