//! A bounded memory: what was asked for lately is kept, the rest goes. Pure.

use std::hash::Hash;

use hashbrown::HashMap;

/// Values of at most so many keys. Half of them at a time are forgotten, those that were not asked
/// for since the other half came: no list is kept of who was asked for when.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (most / 2).max(1),
        }
    }

    /// The value of `key`, made if there is none.
    pub(super) fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let mut kept = None;
        if !self.young.contains_key(&key) {
            kept = self.old.remove(&key);
            if self.young.len() >= self.half {
                // A new map each time: one that was full stays as large as it was.
                self.old = std::mem::take(&mut self.young);
            }
        }
        let entry = self.young.entry(key);
        entry.or_insert_with(|| kept.unwrap_or_else(make))
    }

    /// The value of `key`, if it is remembered.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_stays_in_a_flood_of_others() {
        let mut recent = Recent::new(10);
        recent.get_or_insert(0, || "mine");
        for key in 1..10_000 {
            recent.get_or_insert(key, || "flood");
            assert_eq!(*recent.get_or_insert(0, || "made again"), "mine");
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
        assert_eq!(recent.get(&1), None);
        assert!(recent.get(&9_999).is_some());
    }

    #[test]
    fn a_memory_of_one_works() {
        let mut recent = Recent::new(1);
        for key in [1, 2, 2, 1] {
            *recent.get_or_insert(key, || 0) += 1;
        }
        assert!(recent.get(&1).is_some());
    }
}
