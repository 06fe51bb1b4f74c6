//! The rows of one table, of which there are never more than a given number: when they are that
//! many, the least busy are added up into one and make room. Pure.

use std::cmp::Reverse;
use std::hash::Hash;

use hashbrown::HashMap;

use crate::summary::{Counts, Other};

/// A row while its table grows.
#[derive(Clone, Debug)]
pub(crate) struct Row<L> {
    pub(crate) counts: Counts,
    /// What the key is called.
    pub(crate) label: L,
    /// It was made when rows had been added up already, perhaps one of the same key.
    pub(crate) at_least: bool,
}

/// Rows by key, at most `most`. Adding to a row that is there costs one look-up; making room costs
/// as much as reading the table, at most once every half table of new keys.
#[derive(Debug)]
pub(crate) struct Rows<K, L> {
    by_key: HashMap<K, Row<L>>,
    most: usize,
    other: Option<Other>,
}

impl<K: Copy + Eq + Hash + Ord, L> Rows<K, L> {
    /// No rows yet; `most` is at least 1.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            most: most.max(1),
            other: None,
        }
    }

    /// Adds to the row of `key`, which is made if there is none.
    pub(crate) fn add(&mut self, key: K, counts: Counts, label: impl FnOnce() -> L) {
        if let Some(row) = self.by_key.get_mut(&key) {
            row.counts += counts;
            return;
        }
        if self.by_key.len() >= self.most {
            self.make_room();
        }
        let row = Row {
            counts,
            label: label(),
            at_least: self.other.is_some(),
        };
        self.by_key.insert(key, row);
    }

    /// Calls the row of `key` something else, if there is one.
    pub(super) fn relabel(&mut self, key: K, label: L) {
        if let Some(row) = self.by_key.get_mut(&key) {
            row.label = label;
        }
    }

    /// Keeps the quarter with the most connections and the quarter with the most bytes: who moves
    /// much over one connection must not go because many connect once.
    fn make_room(&mut self) {
        let connections = self.limit(Counts::connections);
        let bytes = self.limit(Counts::bytes);
        let other = self.other.get_or_insert_default();
        let mut most = (0, 0, 0);
        // A new map: the old one would count removed rows as used, and grow.
        let room = HashMap::with_capacity(self.most);
        for (key, row) in std::mem::replace(&mut self.by_key, room) {
            let counts = &row.counts;
            if (counts.connections(), Reverse(key)) > connections
                || (counts.bytes(), Reverse(key)) > bytes
            {
                self.by_key.insert(key, row);
                continue;
            }
            most = (
                most.0.max(counts.connections()),
                most.1.max(counts.tx),
                most.2.max(counts.rx),
            );
            other.rows += 1;
            other.counts += row.counts;
        }
        // A key can have been among the busiest of those added up, each time anew.
        let missing = &mut other.most_missing;
        for (sum, most) in [
            (&mut missing.connections, most.0),
            (&mut missing.tx, most.1),
            (&mut missing.rx, most.2),
        ] {
            *sum = sum.saturating_add(most);
        }
    }

    /// What a quarter of the rows is above.
    fn limit(&self, busy: impl Fn(&Counts) -> u64) -> (u64, Reverse<K>) {
        let mut ranks: Vec<_> = self
            .by_key
            .iter()
            .map(|(key, row)| (busy(&row.counts), Reverse(*key)))
            .collect();
        let kept = ranks.len() / 4;
        let (_, limit, _) = ranks.select_nth_unstable_by(kept, |a, b| b.cmp(a));
        *limit
    }

    /// The rows, busiest first, those equally busy in the order of their key; and what is in none.
    pub(crate) fn finish(self) -> (Vec<(K, Row<L>)>, Option<Other>) {
        let mut rows: Vec<_> = self.by_key.into_iter().collect();
        rows.sort_unstable_by_key(|(key, row)| {
            let counts = &row.counts;
            (Reverse((counts.connections(), counts.bytes())), *key)
        });
        (rows, self.other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counts(accepts: u64, tx: u64) -> Counts {
        Counts {
            accepts,
            tx,
            ..Counts::default()
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 8) % end
        }

        /// Small numbers often, large ones seldom.
        fn skewed(&mut self, end: u64) -> u64 {
            let end = self.below(end) + 1;
            let end = self.below(end) + 1;
            self.below(end)
        }
    }

    #[test]
    fn until_the_table_is_full_every_row_is_exact() {
        let mut rows = Rows::new(3);
        for key in [1, 2, 3, 3, 2, 3] {
            rows.add(key, counts(1, 10), || ());
        }
        let (rows, other) = rows.finish();
        assert_eq!(other, None);
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, row)| (*key, row.counts.accepts, row.at_least))
            .collect();
        assert_eq!(rows, [(3, 3, false), (2, 2, false), (1, 1, false)]);
    }

    #[test]
    fn those_with_many_connections_and_those_with_many_bytes_stay_exact_in_a_flood() {
        let mut rows = Rows::new(64);
        for flood in 1_000..100_000 {
            rows.add(flood, counts(1, 1), || ());
            if flood % 30 == 0 {
                rows.add(1, counts(1, 0), || ());
            }
            if flood == 2_000 {
                rows.add(2, counts(1, 1 << 40), || ());
            }
        }
        let (rows, other) = rows.finish();
        let row = |wanted| &rows.iter().find(|(key, _)| *key == wanted).unwrap().1;
        assert_eq!(row(2).counts, counts(1, 1 << 40));
        assert_eq!(row(1).counts.accepts, 3_300);
        let other = other.unwrap();
        assert_eq!(other.rows + rows.len() as u64, 99_000 + 2);
        assert_eq!(rows[0].0, 1, "the busiest is first");
    }

    #[test]
    fn the_same_adds_give_the_same_rows() {
        let table = || {
            let mut rows = Rows::new(10);
            for key in 0..1_000 {
                rows.add(key % 400, counts(1, 1), || ());
            }
            let (rows, other) = rows.finish();
            (
                rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
                other,
            )
        };
        assert_eq!(table(), table());
    }

    #[test]
    fn sums_are_exact_rows_are_few_and_none_lacks_more_than_is_said() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for most in [1, 2, 3, 4, 5, 8, 33, 100, 1_000] {
            for keys in [1, 2, 10, 300, 5_000] {
                let mut rows = Rows::new(most);
                let mut truth = BTreeMap::<u64, Counts>::new();
                for _ in 0..random.below(6_000) {
                    let key = random.skewed(keys);
                    let added = Counts {
                        rx: random.skewed(1 << 30),
                        failures: random.below(2),
                        ..counts(random.below(3), random.skewed(1 << 30))
                    };
                    rows.add(key, added, || ());
                    *truth.entry(key).or_default() += added;
                    assert!(rows.by_key.len() <= most);
                }
                let (rows, other) = rows.finish();
                assert_eq!(
                    other.is_some(),
                    truth.len() > most,
                    "{most} rows, {keys} keys"
                );
                let other = other.unwrap_or_default();
                assert!(other.rows + rows.len() as u64 >= truth.len() as u64);
                let mut sum = other.counts;
                for (key, row) in rows {
                    let (mut seen, truth) = (row.counts, truth[&key]);
                    sum += seen;
                    if !row.at_least {
                        assert_eq!(seen, truth, "an unmarked row is exact");
                    }
                    assert!(seen.connections() <= truth.connections());
                    assert!(
                        truth.connections() - seen.connections() <= other.most_missing.connections
                    );
                    assert!(truth.tx - seen.tx <= other.most_missing.tx);
                    assert!(truth.rx - seen.rx <= other.most_missing.rx);
                    // Nothing is in two places.
                    seen += other.counts;
                    assert!(seen.tx >= truth.tx && seen.connections() >= truth.connections());
                }
                let mut total = Counts::default();
                for counts in truth.values() {
                    total += *counts;
                }
                assert_eq!(sum, total);
            }
        }
    }
}
