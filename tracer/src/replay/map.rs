//! Recorded records into the map of a `--state` file, a batch at a time, so that memory stays bounded
//! however many there are.

use std::path::Path;

use crate::clock;
use crate::map::Source;
use crate::map::delta::Accumulator;
use crate::map::options::Limits;
use crate::map::store::{Store, StoreError};
use crate::record::Record;

/// Relations, each of some 200 bytes, that are saved at once.
const BATCH: usize = 1 << 18;
/// Connections without an end that are remembered, each as some 40 bytes.
const UNENDED: usize = 1 << 20;

/// Adds records to a map.
#[derive(Debug)]
pub struct Merger {
    store: Store,
    accumulator: Accumulator,
    batch: usize,
    /// Why nothing more is saved.
    error: Option<StoreError>,
}

impl Merger {
    /// Opens the map, or makes it.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self::new(Store::open(path, limits)?, BATCH))
    }

    fn new(store: Store, batch: usize) -> Self {
        Self {
            store,
            accumulator: Accumulator::new(Source::Traced, batch).remembering(UNENDED),
            batch,
            error: None,
        }
    }

    /// Counts a record. After an error there is no map, but there may still be tables.
    pub fn add(&mut self, record: &Record) {
        if self.error.is_some() {
            return;
        }
        self.accumulator.add(record);
        if self.accumulator.delta.len() >= self.batch {
            self.save();
        }
    }

    fn save(&mut self) {
        let delta = self.accumulator.delta.take();
        let now = clock::now();
        self.error = self.store.merge(&delta, now).err();
    }

    /// Saves the rest; returns what went wrong.
    pub fn finish(mut self) -> Option<String> {
        if self.error.is_none() {
            self.save();
        }
        let error = self.error?;
        Some(format!(
            "--state: {error}; the map has no more than a part of what was read"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::store::read;
    use crate::record::EventKind;
    use crate::sink::samples::inbound;

    fn peer(number: u8) -> Record {
        let mut record = inbound(EventKind::Accept);
        record.id.0 = number.into();
        record.remote.ip = [9, 0, 0, number].into();
        record
    }

    #[test]
    fn batches_add_up_and_no_sign_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        let store = || Store::open(&path, Limits::default()).unwrap();
        let mut merger = Merger::new(store(), 3);
        for number in (1..=7).chain(1..=2) {
            merger.add(&peer(number));
        }
        assert_eq!(read(&path).unwrap().relations.len(), 6);
        assert_eq!(merger.finish(), None);
        let map = read(&path).unwrap();
        assert_eq!(map.relations.len(), 7);
        assert!(map.relations.iter().all(|(_, uses)| uses.connections == 1));
        assert!(map.forgotten.is_empty());
    }

    #[test]
    fn what_cannot_be_saved_is_told_once_and_at_the_end() {
        let store = Store::in_memory(Limits::default()).unwrap();
        store.break_it(true);
        let mut merger = Merger::new(store, 2);
        (1..=7).for_each(|number| merger.add(&peer(number)));
        let error = merger.finish().unwrap();
        assert!(error.starts_with("--state: ") && error.ends_with("what was read"));
    }
}
