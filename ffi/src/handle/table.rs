//! The table of handles.

use std::{any::Any, collections::VecDeque, sync::Arc};

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
/// mistakes a handle for a pointer. The lowest bit is 1. In pointers to objects it is 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Id {
    tag: u8,
    /// The epoch of the process that created the handle. It differs between a process and its forked children.
    epoch: usize,
    slot: usize,
    /// The number of handles that have used the slot, modulo 2^16.
    generation: usize,
}

const MARK: usize = 0x51DE;
const TAG_BITS: u32 = 7;
const SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 16;
const EPOCH_BITS: u32 = 4;

const _: () = assert!(16 + EPOCH_BITS + GENERATION_BITS + SLOT_BITS + TAG_BITS + 1 == usize::BITS);

const fn mask(bits: u32) -> usize {
    (1 << bits) - 1
}

impl Id {
    pub(super) fn from_pointer<K: Kind>(address: usize) -> Result<Self, Failure> {
        if address == 0 {
            return Err(Failure::new(SIDESTEP_E_NULL_POINTER, format!("the {} is NULL", K::NAME)));
        }
        if address >> 48 != MARK || address & 1 == 0 {
            let message = format!("{address:#x} is not a {}, and not a handle of libsidestep", K::NAME);
            return Err(Failure::new(SIDESTEP_E_BAD_HANDLE, message));
        }
        let bits = address >> 1;
        let tag = u8::try_from(bits & mask(TAG_BITS)).unwrap_or_default();
        let bits = bits >> TAG_BITS;
        let (slot, bits) = (bits & mask(SLOT_BITS), bits >> SLOT_BITS);
        let (generation, epoch) = (bits & mask(GENERATION_BITS), bits >> GENERATION_BITS & mask(EPOCH_BITS));
        if tag == K::TAG { Ok(Self { tag, epoch, slot, generation }) } else { Err(wrong::<K>()) }
    }

    pub(super) fn to_pointer<C>(self) -> *mut C {
        let bits = self.epoch << GENERATION_BITS | self.generation;
        let bits = bits << SLOT_BITS | self.slot;
        let bits = bits << TAG_BITS | usize::from(self.tag);
        std::ptr::without_provenance_mut(MARK << 48 | bits << 1 | 1)
    }

    pub(super) fn epoch(self) -> usize {
        self.epoch
    }

    /// Returns the epoch of a forked child of a process with this epoch.
    pub(super) fn next_epoch(epoch: usize) -> usize {
        (epoch + 1) & mask(EPOCH_BITS)
    }
}

type Value = Arc<dyn Any + Send + Sync>;

pub(super) struct Table {
    epoch: usize,
    slots: RwLock<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    /// The free slots. The one that has been free for the longest time is first, so that slots are reused late.
    free: VecDeque<usize>,
}

struct Slot {
    tag: u8,
    generation: usize,
    value: Option<Value>,
}

impl Table {
    pub(super) fn new(epoch: usize) -> Self {
        Self { epoch, slots: RwLock::default() }
    }

    pub(super) fn insert(&self, tag: u8, value: Value) -> Id {
        let mut slots = self.slots.write();
        let index = slots.free.pop_front().unwrap_or_else(|| {
            slots.slots.push(Slot { tag, generation: 0, value: None });
            slots.slots.len() - 1
        });
        assert!(
            index <= mask(SLOT_BITS),
            "the program has more than a million handles that it has not freed"
        );
        let slot = &mut slots.slots[index];
        slot.tag = tag;
        slot.generation = (slot.generation + 1) & mask(GENERATION_BITS);
        slot.value = Some(value);
        Id { tag, epoch: self.epoch, slot: index, generation: slot.generation }
    }

    pub(super) fn get(&self, id: Id) -> Option<Value> {
        let slots = self.slots.read();
        slots.slots.get(id.slot).filter(|slot| slot.matches(id))?.value.clone()
    }

    /// Removes the value of a handle and returns it, or `None` if the handle was freed. The caller drops the value
    /// after the lock has been released.
    pub(super) fn remove(&self, id: Id) -> Option<Value> {
        let mut slots = self.slots.write();
        let value = slots.slots.get_mut(id.slot).filter(|slot| slot.matches(id))?.value.take()?;
        slots.free.push_back(id.slot);
        Some(value)
    }
}

impl Slot {
    fn matches(&self, id: Id) -> bool {
        (self.tag, self.generation) == (id.tag, id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Apple;
    struct Pear;

    impl Kind for Apple {
        type C = ();
        const TAG: u8 = 100;
        const NAME: &'static str = "apple";
    }

    impl Kind for Pear {
        type C = ();
        const TAG: u8 = 127;
        const NAME: &'static str = "pear";
    }

    #[test]
    fn an_id_survives_the_conversion_to_a_pointer_and_back() {
        for slot in [0, 1, mask(SLOT_BITS)] {
            for (generation, epoch) in [(0, 0), (1, 0), (mask(GENERATION_BITS), 1), (0, mask(EPOCH_BITS))] {
                let id = Id { tag: Pear::TAG, epoch, slot, generation };
                let pointer: *mut () = id.to_pointer();
                assert_eq!(Id::from_pointer::<Pear>(pointer.addr()).unwrap(), id);
                let other = Id::from_pointer::<Apple>(pointer.addr()).unwrap_err();
                assert_eq!(other.status, crate::status::SIDESTEP_E_WRONG_HANDLE);
            }
        }
    }

    #[test]
    fn memory_addresses_and_other_numbers_are_not_handles() {
        let local = 7;
        for address in [1, 2, 8, usize::MAX, &raw const local as usize, 0xc000_0000_0001] {
            assert_eq!(Id::from_pointer::<Apple>(address).unwrap_err().status, SIDESTEP_E_BAD_HANDLE);
        }
        assert_eq!(Id::from_pointer::<Apple>(0).unwrap_err().status, SIDESTEP_E_NULL_POINTER);
    }

    #[test]
    fn a_removed_value_is_not_found_after_its_slot_is_reused() {
        let table = Table::new(3);
        let first = table.insert(1, Arc::new(1_u8));
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        let second = table.insert(1, Arc::new(2_u8));
        assert_eq!(first.slot, second.slot);
        assert!(table.get(first).is_none());
        assert_eq!(*table.get(second).unwrap().downcast::<u8>().unwrap(), 2);
    }
}
