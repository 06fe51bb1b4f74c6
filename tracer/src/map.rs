//! The access map: who uses which service of this host, and what this host uses elsewhere, over
//! days.
//!
//! | part | does | must not touch |
//! |---|---|---|
//! | this file, [`delta`], [`view`], [`import`], [`since`] | what is kept and shown; pure | clock, files |
//! | [`store`] | keeps the map in a file, the only part that knows SQLite | records |
//! | [`saver`] | saves what is new, and says once that it cannot | what is done with it meanwhile |
//! | [`keeper`], [`report_file`] | the live run: a thread that saves and writes reports | the ring |
//! | [`command`] | `conntracer map` | the tracer |

pub mod command;
pub mod delta;
pub mod import;
pub mod keeper;
pub mod options;
pub mod report_file;
pub mod saver;
pub mod since;
pub mod store;
pub mod view;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use serde::Serialize;

use crate::address::{self, Entry};
use crate::record::{Direction, WallTime};
use delta::Delta;

/// How a relation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Every connection was traced.
    Traced,
    /// Sockets were looked at now and then: what came and went in between is missing.
    Sampled,
    /// An address from a list; of its connections nothing is known.
    Imported,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traced, Self::Sampled, Self::Imported];

    /// The name in stores and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Sampled => "sampled",
            Self::Imported => "imported",
        }
    }
}

/// The name in stores and output.
pub const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

/// Who uses what. Addresses are never v4-mapped. Relations sort by service, then by peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relation {
    /// On which host this was seen.
    pub host: Arc<str>,
    /// Inbound: peers use a service of this host. Outbound: a process of this host uses one
    /// elsewhere.
    pub direction: Direction,
    /// Inbound: the local end. Outbound: the remote end. `None` for an imported peer.
    pub service: Option<SocketAddr>,
    /// Inbound: the remote address. Outbound: `None`, because the process is the user.
    pub peer: Option<IpAddr>,
    /// The process that accepted or connected, escaped; `None` where it is not known.
    pub process: Option<CompactString>,
    /// How this is known.
    pub source: Source,
}

impl Relation {
    /// The address on the other side.
    pub fn other_side(&self) -> Option<IpAddr> {
        match self.direction {
            Direction::Inbound => self.peer,
            Direction::Outbound => self.service.map(|service| service.ip()),
        }
    }

    /// What that address is.
    pub fn class(&self) -> Option<Entry> {
        self.other_side().map(address::of)
    }
}

/// How often and when a relation was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// When it was seen first,
    pub first_seen: WallTime,
    /// and last.
    pub last_seen: WallTime,
    /// Connections whose beginning was seen: accepted, or established.
    pub connections: u64,
    /// Connections that were older than the run that saw them. A run before may have counted the
    /// same ones.
    pub older: u64,
    /// Outbound attempts without a connection.
    pub failures: u64,
    /// Bytes this host sent.
    pub tx: u64,
    /// Bytes this host received.
    pub rx: u64,
    /// Of the process that was last seen: its id
    pub pid: Option<u32>,
    /// and user.
    pub uid: Option<u32>,
}

impl Uses {
    /// Nothing but a sign of it.
    pub const fn at(time: WallTime) -> Self {
        Self {
            first_seen: time,
            last_seen: time,
            connections: 0,
            older: 0,
            failures: 0,
            tx: 0,
            rx: 0,
            pid: None,
            uid: None,
        }
    }

    /// Connections and attempts.
    pub const fn busy(&self) -> u64 {
        self.connections
            .saturating_add(self.older)
            .saturating_add(self.failures)
    }
}

impl std::ops::AddAssign for Uses {
    fn add_assign(&mut self, other: Self) {
        if other.last_seen >= self.last_seen {
            self.pid = other.pid.or(self.pid);
            self.uid = other.uid.or(self.uid);
        } else {
            self.pid = self.pid.or(other.pid);
            self.uid = self.uid.or(other.uid);
        }
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        // Foreign records can hold any number.
        for (sum, more) in [
            (&mut self.connections, other.connections),
            (&mut self.older, other.older),
            (&mut self.failures, other.failures),
            (&mut self.tx, other.tx),
            (&mut self.rx, other.rx),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What is known to be missing from a map, counted over its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Relations that were not seen for longer than `--forget`,
    pub aged_relations: u64,
    /// and their connections.
    pub aged_connections: u64,
    /// Relations that made room for newer ones, see `--map-max`,
    pub capped_relations: u64,
    /// and their connections.
    pub capped_connections: u64,
    /// Connections, attempts and signs of life that could not be saved in time.
    pub unsaved: u64,
    /// Connections that a tracer knows of as sums only, or as lost.
    pub untraced_connections: u64,
}

impl Forgotten {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of them with their names in stores.
    pub fn counts_mut(&mut self) -> [(&'static str, &mut u64); 6] {
        // Named one by one, so that a new count cannot be forgotten here.
        let Self {
            aged_relations,
            aged_connections,
            capped_relations,
            capped_connections,
            unsaved,
            untraced_connections,
        } = self;
        [
            ("aged_relations", aged_relations),
            ("aged_connections", aged_connections),
            ("capped_relations", capped_relations),
            ("capped_connections", capped_connections),
            ("unsaved", unsaved),
            ("untraced_connections", untraced_connections),
        ]
    }
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, mut other: Self) {
        for ((_, sum), (_, more)) in self.counts_mut().into_iter().zip(other.counts_mut()) {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// A map as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// What is in it, each relation once.
    pub relations: Vec<(Relation, Uses)>,
    /// What is not.
    pub forgotten: Forgotten,
}

impl Map {
    /// Adds what is not saved yet.
    pub fn add(&mut self, delta: &Delta) {
        self.forgotten += delta.forgotten;
        let mut new: HashMap<&Relation, Uses> = delta.iter().collect();
        for (relation, uses) in &mut self.relations {
            if let Some(more) = new.remove(relation) {
                *uses += more;
            }
        }
        let new = new
            .into_iter()
            .map(|(relation, uses)| (relation.clone(), uses));
        self.relations.extend(new);
    }
}
