//! The table of handles.

use std::{any::Any, collections::VecDeque, sync::Arc};

use parking_lot::RwLock;

use super::{Kind, wrong};
use crate::{
    failure::Failure,
    status::{SIDESTEP_BAD_HANDLE, SIDESTEP_NULL_POINTER},
};

const _: () = assert!(usize::BITS == 64, "a handle is 64 bits");

/// A handle taken apart. Its highest bits make it an address that no process has, so that nothing (a garbage collector
/// that looks at what looks like a pointer, say) takes it for one; its lowest bit is set, which pointers' are not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Id {
    tag: u8,
    /// Which process' it is: a forked child's are another's than its parent's.
    epoch: usize,
    place: usize,
    /// How often the place has been given out, as far as there is room for it.
    turn: usize,
}

const MARK: usize = 0x51DE;
const TAG_BITS: u32 = 7;
const PLACE_BITS: u32 = 20;
const TURN_BITS: u32 = 16;
const EPOCH_BITS: u32 = 4;

const _: () = assert!(16 + EPOCH_BITS + TURN_BITS + PLACE_BITS + TAG_BITS + 1 == usize::BITS);

const fn mask(bits: u32) -> usize {
    (1 << bits) - 1
}

impl Id {
    pub(super) fn from_pointer<K: Kind>(address: usize) -> Result<Self, Failure> {
        if address == 0 {
            return Err(Failure::new(SIDESTEP_NULL_POINTER, format!("the {} is NULL", K::NAME)));
        }
        if address >> 48 != MARK || address & 1 == 0 {
            let message = format!("{address:#x} is no {}, and no handle of libsidestep's", K::NAME);
            return Err(Failure::new(SIDESTEP_BAD_HANDLE, message));
        }
        let bits = address >> 1;
        let tag = u8::try_from(bits & mask(TAG_BITS)).unwrap_or_default();
        let bits = bits >> TAG_BITS;
        let (place, bits) = (bits & mask(PLACE_BITS), bits >> PLACE_BITS);
        let (turn, epoch) = (bits & mask(TURN_BITS), bits >> TURN_BITS & mask(EPOCH_BITS));
        if tag == K::TAG { Ok(Self { tag, epoch, place, turn }) } else { Err(wrong::<K>()) }
    }

    pub(super) fn to_pointer<C>(self) -> *mut C {
        let bits = self.epoch << TURN_BITS | self.turn;
        let bits = bits << PLACE_BITS | self.place;
        let bits = bits << TAG_BITS | usize::from(self.tag);
        std::ptr::without_provenance_mut(MARK << 48 | bits << 1 | 1)
    }

    pub(super) fn epoch(self) -> usize {
        self.epoch
    }

    /// That of a child of a process.
    pub(super) fn next_epoch(epoch: usize) -> usize {
        (epoch + 1) & mask(EPOCH_BITS)
    }
}

type Value = Arc<dyn Any + Send + Sync>;

pub(super) struct Table {
    epoch: usize,
    places: RwLock<Places>,
}

#[derive(Default)]
struct Places {
    places: Vec<Place>,
    /// Longest free first: a place is given out again as late as can be.
    free: VecDeque<usize>,
}

struct Place {
    tag: u8,
    turn: usize,
    value: Option<Value>,
}

impl Table {
    pub(super) fn new(epoch: usize) -> Self {
        Self { epoch, places: RwLock::default() }
    }

    pub(super) fn insert(&self, tag: u8, value: Value) -> Id {
        let mut places = self.places.write();
        let place = places.free.pop_front().unwrap_or_else(|| {
            places.places.push(Place { tag, turn: 0, value: None });
            places.places.len() - 1
        });
        assert!(place <= mask(PLACE_BITS), "a million handles are not freed");
        let found = &mut places.places[place];
        found.tag = tag;
        found.turn = (found.turn + 1) & mask(TURN_BITS);
        found.value = Some(value);
        Id { tag, epoch: self.epoch, place, turn: found.turn }
    }

    pub(super) fn get(&self, id: Id) -> Option<Value> {
        let places = self.places.read();
        places.places.get(id.place).filter(|place| place.is(id))?.value.clone()
    }

    /// The value is returned, so that it ends after the lock does.
    pub(super) fn remove(&self, id: Id) -> Option<Value> {
        let mut places = self.places.write();
        let value = places.places.get_mut(id.place).filter(|place| place.is(id))?.value.take()?;
        places.free.push_back(id.place);
        Some(value)
    }
}

impl Place {
    fn is(&self, id: Id) -> bool {
        (self.tag, self.turn) == (id.tag, id.turn)
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
    fn a_handle_comes_back_from_its_pointer_whatever_its_numbers() {
        for place in [0, 1, mask(PLACE_BITS)] {
            for (turn, epoch) in [(0, 0), (1, 0), (mask(TURN_BITS), 1), (0, mask(EPOCH_BITS))] {
                let id = Id { tag: Pear::TAG, epoch, place, turn };
                let pointer: *mut () = id.to_pointer();
                assert_eq!(Id::from_pointer::<Pear>(pointer.addr()).unwrap(), id);
                let other = Id::from_pointer::<Apple>(pointer.addr()).unwrap_err();
                assert_eq!(other.status, crate::status::SIDESTEP_WRONG_HANDLE);
            }
        }
    }

    #[test]
    fn addresses_of_memory_and_stray_numbers_are_no_handles() {
        let local = 7;
        for address in [1, 2, 8, usize::MAX, &raw const local as usize, 0xc000_0000_0001] {
            assert_eq!(Id::from_pointer::<Apple>(address).unwrap_err().status, SIDESTEP_BAD_HANDLE);
        }
        assert_eq!(Id::from_pointer::<Apple>(0).unwrap_err().status, SIDESTEP_NULL_POINTER);
    }

    #[test]
    fn a_removed_value_is_found_no_more_although_its_place_is_taken_again() {
        let table = Table::new(3);
        let first = table.insert(1, Arc::new(1_u8));
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        let second = table.insert(1, Arc::new(2_u8));
        assert_eq!(first.place, second.place);
        assert!(table.get(first).is_none());
        assert_eq!(*table.get(second).unwrap().downcast::<u8>().unwrap(), 2);
    }
}
