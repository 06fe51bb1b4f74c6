//! What was credited to connections whose end is not told yet, by what the kernel adds up those of
//! whose end it never tells: by service port and owner. Pure.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use super::Moved;
use crate::aggregate::service_port;
use crate::record::{Direction, Record};
use crate::summary::Counts;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Given {
    connections: u64,
    older: u64,
    moved: Moved,
    /// By the owner.
    own: Moved,
}

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Credit {
    open: HashMap<FoldedKey, Given>,
}

impl Credit {
    /// A connection was credited with `counts`, of whose bytes `own` are its owner's.
    pub(super) fn give(&mut self, record: &Record, counts: &Counts, own: Moved) {
        let sum = self.open.entry(key(record)).or_default();
        let given = given(counts, own);
        for (sum, more) in sum.all().into_iter().zip(given.clone().all()) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// A connection has ended that was credited with these.
    pub(super) fn settle(&mut self, record: &Record, counts: &Counts, own: Moved) {
        let Entry::Occupied(mut entry) = self.open.entry(key(record)) else {
            return;
        };
        let mut given = given(counts, own);
        for (sum, less) in entry.get_mut().all().into_iter().zip(given.all()) {
            *sum = sum.saturating_sub(*less);
        }
        if *entry.get() == Given::default() {
            entry.remove();
        }
    }

    /// What of `totals` was not credited; this is credited with them.
    pub(super) fn rest_of(&mut self, key: &FoldedKey, totals: &FoldedTotals) -> FoldedTotals {
        let mut rest = *totals;
        let key = FoldedKey {
            remote_ip: [0; 16],
            ..*key
        };
        if let Some(given) = self.open.get_mut(&key) {
            for (rest, given) in [
                (&mut rest.connections, &mut given.connections),
                (&mut rest.pre_existing, &mut given.older),
                (&mut rest.tx, &mut given.moved.0),
                (&mut rest.rx, &mut given.moved.1),
                (&mut rest.owner_tx, &mut given.own.0),
                (&mut rest.owner_rx, &mut given.own.1),
            ] {
                let common = (*rest).min(*given);
                (*rest, *given) = (*rest - common, *given - common);
            }
            rest.owner_tx = rest.owner_tx.min(rest.tx);
            rest.owner_rx = rest.owner_rx.min(rest.rx);
        }
        rest
    }
}

impl Given {
    fn all(&mut self) -> [&mut u64; 6] {
        // Named one by one, so that a new sum cannot be forgotten here.
        let Self {
            connections,
            older,
            moved,
            own,
        } = self;
        [
            connections,
            older,
            &mut moved.0,
            &mut moved.1,
            &mut own.0,
            &mut own.1,
        ]
    }
}

fn given(counts: &Counts, own: Moved) -> Given {
    Given {
        connections: counts.accepts.saturating_add(counts.connects),
        older: counts.pre_existing,
        moved: (counts.tx, counts.rx),
        own,
    }
}

fn key(record: &Record) -> FoldedKey {
    let process = record.process.as_ref();
    FoldedKey {
        start_ns: process.map_or(0, |process| process.start_ns),
        remote_ip: [0; 16],
        netns: record.netns,
        tgid: process.map_or(0, |process| process.pid),
        uid: process.map_or(0, |process| process.uid),
        port: service_port(record),
        inbound: u16::from(record.direction == Direction::Inbound),
    }
}
