//! The table of handles, which contains the object of each handle.

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::FixedState;
use parking_lot::RwLock;

use super::{Kind, wrong};
use crate::{
    failure::Failure,
    status::{SIDESTEP_E_BAD_HANDLE, SIDESTEP_E_NULL_POINTER},
};

const _: () = assert!(usize::BITS == 64, "a handle is 64 bits");

/// The parts of a handle.
///
/// The highest bits form an address that no process can use, so that no tool, such as a conservative garbage collector,
/// mistakes a handle for a pointer. The lowest bit is 1; in pointers to objects, it is 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Id {
    tag: u8,
    /// The number of the handle. Each number is used once, also across the processes of a chain of forks.
    number: usize,
}

const MARK: usize = 0x51DE;
const TAG_BITS: u32 = 4;
const NUMBER_BITS: u32 = 43;

const _: () = assert!(16 + NUMBER_BITS + TAG_BITS + 1 == usize::BITS);

/// The number of different type tags that a handle can contain.
const TAGS: usize = 1 << TAG_BITS;

const fn mask(bits: u32) -> usize {
    (1 << bits) - 1
}

impl Id {
    pub(super) fn from_pointer<K: Kind>(address: usize) -> Result<Self, Failure> {
        if address == 0 {
            return Err(Failure::new(SIDESTEP_E_NULL_POINTER, format!("the {} is NULL", K::NAME)));
        }
        let bits = address >> 1;
        let (tag, number) = (bits & mask(TAG_BITS), bits >> TAG_BITS & mask(NUMBER_BITS));
        if address >> 48 != MARK || address & 1 == 0 || number == 0 {
            let message = format!("{address:#x} is not a {}, and not a handle of libsidestep", K::NAME);
            return Err(Failure::new(SIDESTEP_E_BAD_HANDLE, message));
        }
        if tag == usize::from(K::TAG) { Ok(Self { tag: K::TAG, number }) } else { Err(wrong::<K>()) }
    }

    pub(super) fn to_pointer<C>(self) -> *mut C {
        let bits = self.number << TAG_BITS | usize::from(self.tag);
        std::ptr::without_provenance_mut(MARK << 48 | bits << 1 | 1)
    }
}

/// An object in the table of handles.
pub(super) trait Object: Any + Send + Sync {
    /// Writes a warning to the log of the object, as [`Kind::warn`] does.
    fn warn(&self, warning: &str);
}

impl<K: Kind> Object for K {
    fn warn(&self, warning: &str) {
        Kind::warn(self, warning);
    }
}

/// The handles of one process.
pub(super) struct Table {
    /// The number of the first handle of this process. Handles with smaller numbers belong to the parent process and its
    /// ancestors.
    first: usize,
    /// The number of the next handle. The number is outside of the lock, because a forked child reads it.
    next: AtomicUsize,
    /// The maximum number of handles of one type.
    limit: usize,
    objects: RwLock<Objects>,
}

#[derive(Default)]
struct Objects {
    by_number: HashMap<usize, (u8, Arc<dyn Object>), FixedState>,
    /// The number of handles of each type, by tag.
    counts: [usize; TAGS],
    /// The number of handles of each type at which the last warning was written, by tag.
    warned: [usize; TAGS],
}

/// A handle that was added to the table.
pub(super) struct Inserted {
    pub(super) id: Id,
    /// The number of handles of this type, if it has become so large that the library must log a warning.
    pub(super) leak: Option<usize>,
}

impl Table {
    /// Creates the table of a process. `parent` is the table of the process that called `fork`.
    pub(super) fn new(parent: Option<&Self>, limit: usize) -> Self {
        let first = parent.map_or(1, |parent| parent.next.load(Ordering::Relaxed));
        Self { first, next: AtomicUsize::new(first), limit, objects: RwLock::default() }
    }

    /// Returns whether this process, or a process that descends from it, may have created the handle. All other handles
    /// were created before a fork.
    pub(super) fn may_contain(&self, id: Id) -> bool {
        id.number >= self.first
    }

    /// Adds an object. Returns `None` if the type has reached the limit, or if no number is left.
    pub(super) fn insert<K: Kind>(&self, object: Arc<K>) -> Option<Inserted> {
        let index = usize::from(K::TAG);
        let mut objects = self.objects.write();
        let count = *objects.counts.get(index).filter(|count| **count < self.limit)?;
        let number = self.next.load(Ordering::Relaxed);
        if number > mask(NUMBER_BITS) {
            return None;
        }
        // The lock is held, so no other thread of this process changes the number.
        self.next.store(number + 1, Ordering::Relaxed);
        objects.by_number.insert(number, (K::TAG, object));
        let count = count + 1;
        objects.counts[index] = count;
        // The next warning is due when the number has doubled.
        let leak = (count >= K::MANY && count / 2 >= objects.warned[index]).then_some(count);
        if leak.is_some() {
            objects.warned[index] = count;
        }
        Some(Inserted { id: Id { tag: K::TAG, number }, leak })
    }

    pub(super) fn get(&self, id: Id) -> Option<Arc<dyn Object>> {
        let objects = self.objects.read();
        let (tag, object) = objects.by_number.get(&id.number)?;
        (*tag == id.tag).then(|| object.clone())
    }

    /// Removes the object of a handle and returns it, or `None` if the handle was freed. The caller drops the object
    /// after the lock has been released.
    pub(super) fn remove(&self, id: Id) -> Option<Arc<dyn Object>> {
        let mut objects = self.objects.write();
        objects.by_number.get(&id.number).filter(|(tag, _)| *tag == id.tag)?;
        let (tag, object) = objects.by_number.remove(&id.number)?;
        objects.counts[usize::from(tag)] -= 1;
        Some(object)
    }

    /// Writes a warning to the log of each object that has a log.
    pub(super) fn warn(&self, warning: &str) {
        self.objects.read().by_number.values().for_each(|(_, object)| object.warn(warning));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[derive(Default)]
    struct Apple(AtomicBool);
    struct Pear;

    impl Kind for Apple {
        type C = ();
        const TAG: u8 = 13;
        const NAME: &'static str = "apple";

        fn warn(&self, _: &str) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Kind for Pear {
        type C = ();
        const TAG: u8 = 15;
        const NAME: &'static str = "pear";
        const MANY: usize = 10;
    }

    fn table() -> Table {
        Table::new(None, 1000)
    }

    fn insert<K: Kind>(table: &Table, object: K) -> Id {
        table.insert(Arc::new(object)).unwrap().id
    }

    #[test]
    fn an_id_survives_the_conversion_to_a_pointer_and_back() {
        for number in [1, 2, 0x12345, mask(NUMBER_BITS)] {
            let id = Id { tag: Pear::TAG, number };
            let pointer: *mut () = id.to_pointer();
            assert_eq!(Id::from_pointer::<Pear>(pointer.addr()).unwrap(), id);
            let other = Id::from_pointer::<Apple>(pointer.addr()).unwrap_err();
            assert_eq!(other.status, crate::status::SIDESTEP_E_WRONG_HANDLE);
        }
    }

    #[test]
    fn memory_addresses_and_other_numbers_are_not_handles() {
        let local = 7;
        let zero = Id { tag: Apple::TAG, number: 0 }.to_pointer::<()>().addr();
        for address in [1, 2, 8, zero, usize::MAX, &raw const local as usize, 0xc000_0000_0001] {
            assert_eq!(Id::from_pointer::<Apple>(address).unwrap_err().status, SIDESTEP_E_BAD_HANDLE);
        }
        assert_eq!(Id::from_pointer::<Apple>(0).unwrap_err().status, SIDESTEP_E_NULL_POINTER);
    }

    #[test]
    fn a_handle_is_never_used_again() {
        let table = table();
        let first = insert(&table, Pear);
        assert!(table.get(first).is_some());
        assert!(table.remove(first).is_some());
        // More than the 2^16 times after which a generation of 16 bits would repeat.
        for _ in 0..70_000 {
            let other = insert(&table, Pear);
            assert_ne!(other, first);
            assert!(table.get(first).is_none() && table.remove(first).is_none());
            assert!(table.remove(other).is_some());
        }
    }

    #[test]
    fn a_type_that_has_reached_the_limit_gets_no_handle_until_one_is_freed() {
        let table = Table::new(None, 2);
        let first = insert(&table, Pear);
        insert(&table, Pear);
        assert!(table.insert(Arc::new(Pear)).is_none());
        // Other types have their own limit.
        insert(&table, Apple::default());
        assert!(table.remove(first).is_some());
        assert!(table.insert(Arc::new(Pear)).is_some());
        assert!(table.insert(Arc::new(Pear)).is_none());
    }

    #[test]
    fn no_handle_is_created_when_all_numbers_are_used() {
        let table = table();
        table.next.store(mask(NUMBER_BITS), Ordering::Relaxed);
        let last = insert(&table, Pear);
        assert_eq!(Id::from_pointer::<Pear>(last.to_pointer::<()>().addr()).unwrap(), last);
        assert!(table.insert(Arc::new(Pear)).is_none());
    }

    #[test]
    fn a_warning_is_due_whenever_the_number_of_handles_has_doubled() {
        let table = table();
        let mut leaks = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..50 {
            let inserted = table.insert(Arc::new(Pear)).unwrap();
            leaks.extend(inserted.leak);
            ids.push(inserted.id);
        }
        // Freeing and creating handles around a number at which a warning was due gives no further warnings.
        ids.drain(5..).for_each(|id| assert!(table.remove(id).is_some()));
        (0..70).for_each(|_| leaks.extend(table.insert(Arc::new(Pear)).unwrap().leak));
        assert_eq!(leaks, [10, 20, 40]);
    }

    #[test]
    fn a_warning_reaches_every_object_with_a_log() {
        let (table, apple) = (table(), Arc::new(Apple::default()));
        table.insert(apple.clone()).unwrap();
        insert(&table, Pear);
        table.warn("a warning");
        assert!(apple.0.load(Ordering::Relaxed));
    }

    #[test]
    fn a_forked_child_uses_other_numbers_than_every_ancestor() {
        let mut parent = table();
        let mut earlier = vec![insert(&parent, Pear)];
        for _ in 0..100 {
            let child = Table::new(Some(&parent), 1000);
            assert!(earlier.iter().all(|id| !child.may_contain(*id)));
            let own = insert(&child, Pear);
            assert!(child.may_contain(own) && !earlier.contains(&own));
            earlier.push(own);
            parent = child;
        }
    }
}
