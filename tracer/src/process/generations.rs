//! What is remembered of things that nobody says goodbye of. Pure.

use std::hash::Hash;

use hashbrown::HashMap;

/// Values by key. What was used lately stays; it never holds more than twice what a generation may
/// have.
#[derive(Debug)]
pub struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    /// Bytes that the values of the young one take.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<K: Copy + Eq + Hash, V> Generations<K, V> {
    /// Empty; a generation has at most so many values and, but for its last one, bytes.
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            bytes: 0,
            most,
            most_bytes,
        }
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if !self.young.contains_key(key) {
            let (value, bytes) = self.old.remove(key)?;
            self.insert(*key, value, bytes);
        }
        self.young.get(key).map(|(value, _)| value)
    }

    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        if let Some((value, bytes)) = self.young.remove(key) {
            self.bytes -= bytes;
            return Some(value);
        }
        self.old.remove(key).map(|(value, _)| value)
    }

    /// Remembers it instead of what there was; it takes so many bytes.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if self.young.len() >= self.most || self.bytes >= self.most_bytes {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.young.insert(key, (value, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_counts_wherever_the_older_one_is() {
        let mut known = Generations::new(2, 100);
        for (key, value) in [(1, "a"), (1, "b"), (2, "c"), (3, "d"), (1, "e")] {
            known.insert(key, value, 1);
        }
        assert_eq!(known.get(&1), Some(&"e"));
        assert_eq!(known.remove(&1), Some("e"));
        assert_eq!(known.get(&1), None);
    }

    #[test]
    fn what_is_used_stays_and_there_are_never_too_many() {
        let mut known = Generations::new(10, usize::MAX);
        known.insert(0, 0, 0);
        for key in 1..1_000 {
            known.insert(key, key, 0);
            assert_eq!(known.get(&0), Some(&0));
            assert!(known.young.len() <= 10 && known.old.len() <= 10);
        }
        assert_eq!(known.get(&500), None);
        assert_eq!(known.get(&999), Some(&999));
    }

    #[test]
    fn large_values_are_fewer() {
        let mut known = Generations::new(1_000, 100);
        for key in 0..1_000 {
            known.insert(key, (), 30);
            known.insert(key, (), 30);
            assert!(known.young.len() + known.old.len() <= 8);
        }
        known.young.clear();
    }
}
