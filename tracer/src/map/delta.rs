//! Records to what is new in the map since it was last saved. Pure.

use std::net::SocketAddr;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Forgotten, Relation, Source, Uses};
use crate::increment::Increments;
use crate::record::{ConnectionId, Direction, EventKind, Out, Record, WallTime};

/// What is new. It has at most a given number of relations; signs of further ones are counted as
/// unsaved.
#[derive(Debug)]
pub struct Delta {
    relations: HashMap<Relation, Uses>,
    most: usize,
    /// What is missing, since the last save.
    pub forgotten: Forgotten,
}

impl Delta {
    /// Nothing new; it will hold `most` relations at most.
    pub fn new(most: usize) -> Self {
        Self {
            relations: HashMap::new(),
            most,
            forgotten: Forgotten::default(),
        }
    }

    /// Adds to a relation.
    pub fn note(&mut self, relation: Relation, uses: Uses) {
        let is_full = self.relations.len() >= self.most;
        match self.relations.entry(relation) {
            Entry::Occupied(entry) => *entry.into_mut() += uses,
            Entry::Vacant(_) if is_full => self.forgotten.unsaved += uses.busy().max(1),
            Entry::Vacant(entry) => {
                entry.insert(uses);
            }
        }
    }

    /// Adds what another one holds.
    pub fn append(&mut self, other: Self) {
        self.forgotten += other.forgotten;
        for (relation, uses) in other.relations {
            self.note(relation, uses);
        }
    }

    /// Takes what is new, and starts anew.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let most = self.most;
        std::mem::replace(self, Self::new(most))
    }

    /// The relations.
    pub fn iter(&self) -> impl Iterator<Item = (&Relation, Uses)> {
        self.relations
            .iter()
            .map(|(relation, uses)| (relation, *uses))
    }

    /// How many relations have something new.
    pub fn len(&self) -> usize {
        self.relations.len()
    }

    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.forgotten.is_empty()
    }
}

/// Turns records into what is new.
#[derive(Debug)]
pub struct Accumulator {
    /// What is new since it was last taken.
    pub delta: Delta,
    source: Source,
    increments: Increments,
}

impl Accumulator {
    /// Nothing seen yet; at most `most` relations are new at a time. `source` is that of records which
    /// do not say that they are sampled.
    pub fn new(source: Source, most: usize) -> Self {
        Self {
            delta: Delta::new(most),
            source,
            increments: Increments::new(),
        }
    }

    /// Remembers some `most` connections that have not ended, see [`Increments::remembering`].
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        Self {
            increments: self.increments.remembering(most),
            ..self
        }
    }

    /// Counts what the record tells. Of one connection they must come in the order they were made.
    pub fn add(&mut self, record: &Record) {
        let Some(increment) = self.increments.add(record) else {
            return;
        };
        let mut uses = Uses {
            tx: increment.counts.tx,
            rx: increment.counts.rx,
            ..Uses::at(record.time)
        };
        if record.event == EventKind::Failed {
            if record.direction == Direction::Inbound {
                return;
            }
            uses.failures = 1;
        } else if increment.begins {
            if matches!(record.event, EventKind::Close | EventKind::OpenAtExit) {
                if !is_use(record) {
                    return;
                }
                let duration = i64::try_from(record.duration_ns.unwrap_or(0)).unwrap_or(i64::MAX);
                uses.first_seen = WallTime(record.time.0.saturating_sub(duration));
            }
            (uses.connections, uses.older) = if record.pre_existing { (0, 1) } else { (1, 0) };
        }
        if let Some(process) = &record.process {
            (uses.pid, uses.uid) = (Some(process.pid), Some(process.uid));
        }
        self.delta.note(relation(record, self.source), uses);
    }

    /// Forgets a connection whose end nobody will tell.
    pub fn vanished(&mut self, id: ConnectionId) {
        self.increments.vanished(id);
    }
}

impl Out for Accumulator {
    fn push(&mut self, record: Record) {
        self.add(&record);
    }
}

/// Whether an ended connection of which nothing was told before was used by anybody here: one that
/// no process accepted is no use of a service.
fn is_use(record: &Record) -> bool {
    if record.sampled {
        return true;
    }
    let bytes = record.bytes.unwrap_or_default();
    let before = [bytes.before_tx, bytes.before_rx].map(Option::unwrap_or_default);
    let has_moved = bytes.tx | bytes.rx | before[0] | before[1] != 0;
    match record.direction {
        Direction::Inbound => record.process.is_some() || has_moved,
        Direction::Outbound => record.pre_existing || record.latency_ns.is_some() || has_moved,
    }
}

fn relation(record: &Record, source: Source) -> Relation {
    let (service, peer) = match record.direction {
        Direction::Inbound => (record.local, Some(record.remote.ip.to_canonical())),
        Direction::Outbound => (record.remote, None),
    };
    let port = service.port.unwrap_or(0);
    Relation {
        host: record.host.clone(),
        direction: record.direction,
        service: Some(SocketAddr::new(service.ip.to_canonical(), port)),
        peer,
        process: record.process.as_ref().map(|process| process.name.clone()),
        source: if record.sampled {
            Source::Sampled
        } else {
            source
        },
    }
}

#[cfg(test)]
mod tests;
