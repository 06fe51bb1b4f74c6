//! What rounds saw, into the map of a `--state` file: saved after each, so that a crash costs nothing.

use std::path::Path;
use std::sync::Arc;

use super::sampler::{Moment, Sampler, Tell};
use super::socket::Socket;
use crate::identity::Identity;
use crate::map::Source;
use crate::map::delta::Accumulator;
use crate::map::options::Limits;
use crate::map::saver::Saver;
use crate::map::store::StoreError;

/// New relations, each of about 200 bytes, that are kept while they cannot be saved.
const MOST: usize = 1 << 18;

/// Keeps the map of a list.
#[derive(Debug)]
pub(super) struct Kept {
    sampler: Sampler,
    accumulator: Accumulator,
    saver: Saver,
    /// Of the last save.
    error: Option<StoreError>,
}

impl Kept {
    /// Opens the map, or makes it.
    pub(super) fn open(
        path: &Path,
        limits: Limits,
        identity: Identity,
        host: Arc<str>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            sampler: Sampler::new(identity, host, Tell::Sightings),
            accumulator: Accumulator::new(Source::Sampled, MOST),
            saver: Saver::open(path, limits)?,
            error: None,
        })
    }

    /// Adds a round and saves it. What cannot be saved is told once and kept for the next round.
    pub(super) fn add(&mut self, sockets: &[Socket], now: Moment) {
        self.sampler.take(sockets, now, &mut self.accumulator);
        self.error = self.saver.save(&self.accumulator.delta, now.time).err();
        if self.error.is_none() {
            drop(self.accumulator.delta.take());
        }
    }

    /// What of the map is not saved, and why.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.error.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::connection;
    use crate::map::store::Store;
    use crate::record::{Direction, WallTime};

    #[test]
    fn what_cannot_be_saved_is_kept_and_saved_later() {
        let store = Store::in_memory(Limits::default()).unwrap();
        let identity = Identity::new("boot", &[1; 16]);
        let mut kept = Kept {
            sampler: Sampler::new(identity, "box".into(), Tell::Sightings),
            accumulator: Accumulator::new(Source::Sampled, MOST),
            saver: Saver::new(store),
            error: None,
        };
        let socket = Socket {
            direction: Some(Direction::Outbound),
            ..connection("10.0.0.5:1000", "10.0.0.9:443")
        };
        let at = |seconds| Moment {
            mono_ns: 0,
            time: WallTime(seconds),
        };
        kept.saver.store.break_it(true);
        kept.add(std::slice::from_ref(&socket), at(1));
        assert!(kept.error.is_some());
        kept.saver.store.break_it(false);
        kept.add(&[socket], at(2));
        let map = kept.saver.store.read().unwrap();
        assert_eq!(map.relations.len(), 1);
        let (relation, uses) = &map.relations[0];
        assert_eq!(relation.source, Source::Sampled);
        assert_eq!(uses.connections, 1);
        assert_eq!(
            (uses.first_seen, uses.last_seen),
            (WallTime(1), WallTime(2))
        );
        assert!(kept.finish().is_ok());
    }
}
