//! Records to what is new in the map since it was last saved. Pure.
//!
//! A connection counts when it is known to be there, which may be days before its end. `traffic`
//! records carry what moved since the last record, the last record of a connection carries its
//! totals; so what each live connection was credited with is remembered until its end.

use std::net::SocketAddr;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Forgotten, Relation, Source, Uses};
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

/// What a live connection was credited with.
#[derive(Clone, Copy, Debug, Default)]
struct Credited {
    tx: u64,
    rx: u64,
}

/// Turns records into what is new.
#[derive(Debug)]
pub struct Accumulator {
    /// What is new since it was last taken.
    pub delta: Delta,
    source: Source,
    /// Connections that were counted and have not ended.
    live: HashMap<ConnectionId, Credited>,
    /// Those of which there was no sign for longer.
    quiet: HashMap<ConnectionId, Credited>,
    /// How many each of the two holds at most.
    most_live: usize,
}

impl Accumulator {
    /// Nothing seen yet; at most `most` relations are new at a time. `source` is that of records which
    /// do not say that they are sampled.
    pub fn new(source: Source, most: usize) -> Self {
        Self {
            delta: Delta::new(most),
            source,
            live: HashMap::new(),
            quiet: HashMap::new(),
            most_live: usize::MAX,
        }
    }

    /// Remembers some `most` connections that have not ended, as recorded ones may never: of more,
    /// those without a sign for longest are forgotten, and count again if there is one.
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        Self {
            most_live: (most / 2).max(1),
            ..self
        }
    }

    /// Counts what the record tells. Of one connection they must come in the order they were made.
    pub fn add(&mut self, record: &Record) {
        if let Some(credited) = self.quiet.remove(&record.id) {
            self.live.insert(record.id, credited);
        }
        match record.event {
            EventKind::Accept | EventKind::Established => self.begin(record),
            EventKind::Traffic => self.traffic(record),
            EventKind::Failed => self.failed(record),
            EventKind::Close | EventKind::OpenAtExit => self.end(record),
            EventKind::Open | EventKind::Io | EventKind::Ended => {}
        }
        if self.live.len() >= self.most_live {
            self.quiet = std::mem::take(&mut self.live);
        }
    }

    /// Forgets a connection whose end nobody will tell.
    pub fn vanished(&mut self, id: ConnectionId) {
        self.quiet.remove(&id);
        self.live.remove(&id);
    }

    fn begin(&mut self, record: &Record) {
        let Entry::Vacant(entry) = self.live.entry(record.id) else {
            return;
        };
        entry.insert(Credited::default());
        let uses = counted(record, Uses::at(record.time));
        self.note(record, uses);
    }

    fn traffic(&mut self, record: &Record) {
        // Its process will be known shortly, and then it is another relation. Of an older connection
        // it is known at once or never.
        let awaits_owner = record.direction == Direction::Inbound
            && record.process.is_none()
            && !record.pre_existing
            && !record.sampled;
        if awaits_owner {
            return;
        }
        let moved = record.bytes.unwrap_or_default();
        let mut uses = Uses {
            tx: moved.tx,
            rx: moved.rx,
            ..Uses::at(record.time)
        };
        let credited = match self.live.entry(record.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                uses = counted(record, uses);
                entry.insert(Credited::default())
            }
        };
        credited.tx = credited.tx.saturating_add(moved.tx);
        credited.rx = credited.rx.saturating_add(moved.rx);
        self.note(record, uses);
    }

    fn failed(&mut self, record: &Record) {
        self.live.remove(&record.id);
        if record.direction == Direction::Outbound {
            let uses = Uses {
                failures: 1,
                ..Uses::at(record.time)
            };
            self.note(record, uses);
        }
    }

    fn end(&mut self, record: &Record) {
        let known = self.live.remove(&record.id);
        let bytes = record.bytes.unwrap_or_default();
        let credited = known.unwrap_or_default();
        let mut uses = Uses {
            tx: bytes.tx.saturating_sub(credited.tx),
            rx: bytes.rx.saturating_sub(credited.rx),
            ..Uses::at(record.time)
        };
        if known.is_none() {
            if !is_use(record) {
                return;
            }
            uses = counted(record, uses);
            let duration = i64::try_from(record.duration_ns.unwrap_or(0)).unwrap_or(i64::MAX);
            uses.first_seen = WallTime(record.time.0.saturating_sub(duration));
        }
        self.note(record, uses);
    }

    fn note(&mut self, record: &Record, mut uses: Uses) {
        if let Some(process) = &record.process {
            (uses.pid, uses.uid) = (Some(process.pid), Some(process.uid));
        }
        self.delta.note(relation(record, self.source), uses);
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

/// `uses` and one connection more.
fn counted(record: &Record, uses: Uses) -> Uses {
    let (connections, older) = if record.pre_existing { (0, 1) } else { (1, 0) };
    Uses {
        connections,
        older,
        ..uses
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
