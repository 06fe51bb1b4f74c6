//! Saves a map, and says once that it cannot, and once that it can again.

use std::path::Path;

use super::delta::Delta;
use super::options::Limits;
use super::store::{Store, StoreError};
use crate::record::WallTime;
use crate::say::say;

/// A map's store, and how its last save went.
#[derive(Debug)]
pub struct Saver {
    pub(crate) store: Store,
    is_failing: bool,
}

impl Saver {
    /// Saves to `store`.
    pub const fn new(store: Store) -> Self {
        Self {
            store,
            is_failing: false,
        }
    }

    /// Saves to the map at `path`, which is made if there is none.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Store::open(path, limits).map(Self::new)
    }

    /// Adds `delta` to the map. After an error it is not in it: the caller keeps it for the next
    /// time.
    pub fn save(&mut self, delta: &Delta, now: WallTime) -> Result<(), StoreError> {
        let result = self.store.merge(delta, now);
        match &result {
            Ok(()) if self.is_failing => say("note: the map is saved again"),
            Err(error) if !self.is_failing => say(&format!(
                "warning: --state: {error}; the map is kept in memory meanwhile, and its save tried \
                 again"
            )),
            _ => {}
        }
        self.is_failing = result.is_err();
        result
    }
}
