//! Records to what is new since the connection's record before: each connection counts once, when
//! it is known to be there, which may be days before its end, and each byte once. Pure.
//!
//! `traffic` records carry what moved since the last record, the last record of a connection its
//! totals; so what each live connection was credited with is remembered until its end. What is
//! credited need not be taken back: what a later record could contradict waits for it. What was on
//! the wire only the last record tells, so all of it is new there.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::aggregate;
use crate::record::{Bytes, ConnectionId, Direction, EventKind, Record, User, Users};
use crate::summary::Counts;
use credit::Credit;
use told::{Begun, Told};

mod credit;
#[cfg(test)]
mod tests;
mod told;

/// What a record tells that was not told before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Increment {
    /// What is new; nothing is ever `open`.
    pub counts: Counts,
    /// Part of the new bytes whose process is known, where processes were asked for.
    pub users: Users,
    /// The connection counts from now on.
    pub begins: bool,
}

/// A process for good.
type Who = (u32, u64);

/// Bytes, sent and received.
type Moved = (u64, u64);

/// Turns records into what is new.
#[derive(Debug, Default)]
pub struct Increments {
    /// Connections that were told of and have not ended.
    live: HashMap<ConnectionId, Told>,
    /// Those of which there was no sign for longer.
    quiet: HashMap<ConnectionId, Told>,
    /// How many each of the two holds at most; `None` = as many as there are.
    most_live: Option<usize>,
    /// Whether processes are told apart.
    by_process: bool,
    /// What is credited to connections without an end.
    credit: Option<Credit>,
}

impl Increments {
    /// Nothing seen yet. Every live connection is remembered: the kernel's table bounds them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells also who moved the bytes. Those whose process is not known wait for the end of their
    /// connection then, if it may still become known.
    #[must_use]
    pub fn by_process(self) -> Self {
        Self {
            by_process: true,
            ..self
        }
    }

    /// Knows also the [rest](Self::rest_of) of connections whose end is told in a sum.
    #[must_use]
    pub fn with_sums(self) -> Self {
        Self {
            credit: Some(Credit::default()),
            ..self
        }
    }

    /// Remembers some `most` connections that have not ended, as recorded ones may never: of more,
    /// those without a sign for longest are forgotten, and count again if there is one.
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        Self {
            most_live: Some((most / 2).max(1)),
            ..self
        }
    }

    /// How many connections are remembered.
    pub fn remembered(&self) -> usize {
        self.live.len() + self.quiet.len()
    }

    /// Forgets a connection whose end nobody will tell.
    pub fn vanished(&mut self, id: ConnectionId) {
        self.quiet.remove(&id);
        self.live.remove(&id);
    }

    /// What the record tells that is new; `None` for a record that is no sign of a connection. Of one
    /// connection they must come in the order they were made.
    pub fn add(&mut self, record: &Record) -> Option<Increment> {
        if let Some(told) = self.quiet.remove(&record.id) {
            self.live.insert(record.id, told);
        }
        let increment = match record.event {
            EventKind::Open => {
                self.live.entry(record.id).or_default();
                None
            }
            EventKind::Accept | EventKind::Established => self.begin(record),
            EventKind::Traffic => self.traffic(record),
            EventKind::Failed | EventKind::Close | EventKind::OpenAtExit => Some(self.end(record)),
            EventKind::Io | EventKind::Ended => None,
        };
        if self.most_live.is_some_and(|most| self.live.len() >= most) {
            self.quiet = std::mem::take(&mut self.live);
        }
        increment
    }

    /// Of sums of connections without records of their end, what was not credited to them before.
    pub fn rest_of(&mut self, key: &FoldedKey, totals: &FoldedTotals) -> FoldedTotals {
        match &mut self.credit {
            Some(credit) => credit.rest_of(key, totals),
            None => *totals,
        }
    }

    fn begin(&mut self, record: &Record) -> Option<Increment> {
        let told = self.live.entry(record.id).or_default();
        if told.begun != Begun::No {
            return None;
        }
        told.begun = Begun::of(record);
        let increment = Increment {
            counts: told.begun.counts(),
            begins: true,
            ..Increment::default()
        };
        if let Some(credit) = &mut self.credit {
            credit.give(record, &increment.counts, (0, 0));
        }
        Some(increment)
    }

    fn traffic(&mut self, record: &Record) -> Option<Increment> {
        // Its process will be known shortly, and then it is another one's. Of an older connection
        // it is known at once or never.
        let awaits_owner =
            record.direction == Direction::Inbound && record.process.is_none() && !is_final(record);
        if awaits_owner {
            return None;
        }
        let mut increment = Increment::default();
        let told = match self.live.entry(record.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                increment.begins = true;
                entry.insert(Told::begun(record))
            }
        };
        // An attempt sends data with its SYN, and may still come to nothing.
        if told.begun == Begun::No {
            return None;
        }
        if increment.begins {
            increment.counts = told.begun.counts();
        }
        let bytes = record.bytes.unwrap_or_default();
        let mut moved = (bytes.tx, bytes.rx);
        if self.by_process {
            increment.users = users(record, &bytes);
            if record.process.is_some() || !is_final(record) {
                moved = sum(&increment.users);
            }
        }
        (increment.counts.tx, increment.counts.rx) = moved;
        let owner = owner(record);
        told.credit(&increment, owner);
        if let Some(credit) = &mut self.credit {
            let own = increment.users.iter().filter(|it| Some(who(it)) == owner);
            let own = own.map(|user| (user.tx, user.rx)).next();
            credit.give(record, &increment.counts, own.unwrap_or_default());
        }
        Some(increment)
    }

    fn end(&mut self, record: &Record) -> Increment {
        let told = self.live.remove(&record.id).unwrap_or_default();
        let owner = owner(record);
        let full = aggregate::counts(record).unwrap_or_default();
        let mut counts = Counts {
            tx: full.tx.saturating_sub(told.moved.0),
            rx: full.rx.saturating_sub(told.moved.1),
            wire: full.wire,
            ..Counts::default()
        };
        let begins = told.begun == Begun::No || record.event == EventKind::Failed;
        if begins {
            counts = Counts {
                tx: counts.tx,
                rx: counts.rx,
                open: 0,
                ..full
            };
        }
        let mut users = Users::new();
        if let Some(credit) = &mut self.credit {
            let mut given = told.begun.counts();
            (given.tx, given.rx) = told.moved;
            let own = owner.map(|who| told.of(who, owner)).unwrap_or_default();
            credit.settle(record, &given, own);
        }
        if self.by_process {
            users.clone_from(&record.users);
            // No more than is new: what was nobody's may have become somebody's.
            let (mut tx, mut rx) = (counts.tx, counts.rx);
            users.retain(|user| {
                let before = told.of(who(user), owner);
                user.tx = user.tx.saturating_sub(before.0).min(tx);
                user.rx = user.rx.saturating_sub(before.1).min(rx);
                (tx, rx) = (tx - user.tx, rx - user.rx);
                user.tx | user.rx != 0
            });
        }
        Increment {
            counts,
            users,
            begins,
        }
    }
}

/// Whether who owns it will not become known any more.
const fn is_final(record: &Record) -> bool {
    record.process.is_some() || record.pre_existing || record.sampled
}

/// Who moved the bytes of a `traffic` record: its owner, if nothing else is said.
fn users(record: &Record, bytes: &Bytes) -> Users {
    let is_told = bytes.unattributed_tx.is_some() || bytes.unattributed_rx.is_some();
    if !record.users.is_empty() || is_told || bytes.tx | bytes.rx == 0 {
        return record.users.clone();
    }
    let owner = record.process.iter().map(|process| User {
        pid: process.pid,
        name: process.name.clone(),
        uid: process.uid,
        start_ns: process.start_ns,
        tx: bytes.tx,
        rx: bytes.rx,
    });
    owner.collect()
}

fn owner(record: &Record) -> Option<Who> {
    let process = record.process.as_ref()?;
    Some((process.pid, process.start_ns))
}

const fn who(user: &User) -> Who {
    (user.pid, user.start_ns)
}

fn sum(users: &[User]) -> Moved {
    let mut moved = (0, 0);
    for user in users {
        add(&mut moved, (user.tx, user.rx));
    }
    moved
}

/// Recorded files may hold any number.
fn add(sum: &mut Moved, more: Moved) {
    sum.0 = sum.0.saturating_add(more.0);
    sum.1 = sum.1.saturating_add(more.1);
}
