//! A map with a limited total weight, which drops entries that were not used recently.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    mem,
};

/// A hash map that limits the total weight of its entries: it drops entries that were not used recently.
///
/// Each entry has a weight, for example 1, or its size in bytes. The map consists of two generations of entries, a
/// young and an old one. The capacity limits the weight of each generation, so that all entries together weigh at most
/// twice the capacity. Only an entry that alone exceeds the capacity can exceed this limit; it is a generation of its
/// own.
///
/// An insertion that does not fit into the young generation begins a new young generation: the previous young one
/// becomes the old one, and the previous old one is dropped. A use ([`get`](Self::get)) moves an entry to the young
/// generation, so that an entry that is used at least once per generation is retained.
#[derive(Clone, Debug)]
pub struct BoundedMap<K, V, S = RandomState> {
    young: Generation<K, V, S>,
    old: Generation<K, V, S>,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Generation<K, V, S> {
    entries: HashMap<K, Entry<V>, S>,
    weight: usize,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
}

impl<K, V, S: Default> BoundedMap<K, V, S> {
    /// Creates an empty map. `capacity` is the weight of one generation, in the unit of the weights passed to
    /// [`insert`](Self::insert), for example entries or bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { young: Generation::default(), old: Generation::default(), capacity }
    }
}

impl<K, V, S> BoundedMap<K, V, S> {
    /// Returns all values in no particular order, without marking them as used.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let entries = self.young.entries.values().chain(self.old.entries.values());
        entries.map(|entry| &entry.value)
    }

    /// Returns the total weight of all entries.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.young.weight + self.old.weight
    }
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> BoundedMap<K, V, S> {
    /// Returns the value of `key` and marks it as used.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, entry)) = self.old.remove(key) {
            self.add(key, entry);
        }
        self.young.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Returns the value of `key` without marking it as used.
    #[must_use]
    pub fn peek<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.young.entries.get(key).or_else(|| self.old.entries.get(key));
        entry.map(|entry| &entry.value)
    }

    /// Sets the value of `key`. An entry heavier than the capacity gets a generation of its own.
    ///
    /// Returns whether a new generation began. Then all other entries are in the old generation, and are dropped when
    /// the next generation begins, unless they are used or inserted again.
    pub fn insert(&mut self, key: K, value: V, weight: usize) -> bool {
        self.remove(&key);
        self.add(key, Entry { value, weight })
    }

    /// Removes the entry of `key` and returns its value; `None` if there is no such entry.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (_, entry) = self.young.remove(key).or_else(|| self.old.remove(key))?;
        Some(entry.value)
    }

    /// Inserts an entry whose key is in neither generation. Returns whether a new generation began.
    fn add(&mut self, key: K, entry: Entry<V>) -> bool {
        let full = !self.young.entries.is_empty() && self.young.weight + entry.weight > self.capacity;
        if full {
            self.old = mem::take(&mut self.young);
        }
        self.young.weight += entry.weight;
        self.young.entries.insert(key, entry);
        full
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Generation<K, V, S> {
    fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<(K, Entry<V>)>
    where
        K: Borrow<Q>,
    {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.weight -= entry.weight;
        Some((key, entry))
    }
}

impl<K, V, S: Default> Default for Generation<K, V, S> {
    fn default() -> Self {
        Self { entries: HashMap::default(), weight: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(capacity: usize) -> BoundedMap<String, u32> {
        BoundedMap::new(capacity)
    }

    #[test]
    fn a_value_is_found_replaced_and_removed_in_either_generation() {
        let mut map = map(2);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            map.insert(key.to_owned(), value, 1);
        }
        assert_eq!(["a", "c", "d"].map(|key| map.peek(key).copied()), [Some(1), Some(3), None]);
        map.insert("a".to_owned(), 4, 1);
        assert_eq!(map.peek("a"), Some(&4));
        assert_eq!(map.weight(), 3, "the value in the old generation is gone");
        let mut values: Vec<_> = map.values().copied().collect();
        values.sort_unstable();
        assert_eq!(values, [2, 3, 4]);
        *map.get("a").unwrap() = 5;
        assert_eq!(["a", "b", "a"].map(|key| map.remove(key)), [Some(5), Some(2), None]);
        assert_eq!(map.weight(), 1);
    }

    #[test]
    fn the_weight_is_bounded_by_two_generations_and_the_oldest_entries_are_dropped_first() {
        let mut map = map(10);
        for number in 0..1000_u32 {
            map.insert(number.to_string(), number, 3);
            assert!(map.weight() <= 20);
        }
        assert_eq!(map.peek("0"), None);
        assert_eq!(map.peek("996"), Some(&996));
    }

    #[test]
    fn an_insertion_returns_whether_a_new_generation_began() {
        let mut map = map(2);
        let mut insert = |key: &str| map.insert(key.to_owned(), 0, 1);
        assert_eq!(["a", "b", "b", "c", "d", "e"].map(&mut insert), [false, false, false, true, false, true]);
    }

    #[test]
    fn an_entry_in_use_is_retained_and_a_peeked_one_is_not() {
        let mut map = map(10);
        map.insert("used".to_owned(), 1, 1);
        map.insert("looked at".to_owned(), 2, 1);
        for number in 0..100_u32 {
            map.insert(number.to_string(), number, 1);
            assert_eq!(map.get("used"), Some(&mut 1));
            assert_eq!(map.peek("looked at").is_some(), number < 17, "{number}");
        }
        assert_eq!(map.peek("looked at"), None);
    }

    #[test]
    fn an_entry_heavier_than_the_capacity_is_retained_for_two_generations() {
        let mut map = map(10);
        map.insert("heavy".to_owned(), 1, 1000);
        assert_eq!(map.peek("heavy"), Some(&1));
        map.insert("a".to_owned(), 2, 6);
        map.insert("b".to_owned(), 3, 6);
        assert_eq!(map.peek("heavy"), None);
        assert_eq!(map.weight(), 12);
    }

    #[test]
    fn a_heavier_value_of_a_key_replaces_the_weight_of_the_lighter_one() {
        let mut map = map(10);
        map.insert("a".to_owned(), 1, 2);
        map.insert("a".to_owned(), 2, 9);
        assert_eq!(map.weight(), 9);
    }
}
