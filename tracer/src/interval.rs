//! What happened within each stretch of time: tables by what was asked for, which start anew at its
//! end. All of them add up to the tables of the whole run. Pure: no clock, no I/O.
//!
//! | part | does |
//! |---|---|
//! | [`dimension`] | what a table can be by |
//! | [`table`] | increments to the rows of one table |
//! | [`beat`] | when an interval ends |
//!
//! A record belongs to the interval in which it is read. Before one is closed, what open
//! connections moved in it is asked for, so that little comes late: what does come late is in the
//! running interval, and nothing is in two or in none.

pub mod beat;
pub mod dimension;
pub mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::aggregate::hosts::Hosts;
use crate::clock::Moment;
use crate::increment::Increments;
use crate::record::{ConnectionId, Record, WallTime};
use crate::summary::{Counts, Other};
use beat::Beat;
use dimension::Dimension;
use table::{Facts, Key, Label, Table};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long an interval is; at least a second.
    pub every: Duration,
    /// A table by each of these.
    pub by: Vec<Dimension>,
    /// Rows of a table that are shown, if the user said so.
    pub top: Option<usize>,
    /// Whether the records of connections are written, too.
    pub records: bool,
}

/// A closed interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it began: when the one before ended.
    pub start: WallTime,
    /// When it ended.
    pub end: WallTime,
    /// How long it took, by the monotonic clock.
    pub duration_ns: u64,
    /// Host name; `None` where the rows have theirs.
    pub host: Option<Arc<str>>,
    /// The sum of each table.
    pub total: Counts,
    /// In the order they were asked for.
    pub tables: Vec<Rows>,
    /// Rows of a table that are shown, if the user said so.
    pub top: Option<usize>,
    /// Whether it is told what was on the wire: also where nothing ended that tells it, so that the
    /// columns stay the same.
    pub has_wire: bool,
}

/// The rows of a closed interval, busiest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// What they are by.
    pub by: Dimension,
    /// Those that were kept,
    pub rows: Vec<Row>,
    /// and the others, added up.
    pub other: Option<Other>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Host; `None` where all are of one.
    pub host: Option<Arc<str>>,
    /// What it is about.
    pub key: Key,
    /// What else is known of that.
    pub label: Label,
    /// It may lack what is in the others.
    pub at_least: bool,
    /// The counts.
    pub counts: Counts,
}

/// The running interval.
#[derive(Debug)]
pub struct Intervals {
    beat: Beat,
    started: Moment,
    increments: Increments,
    hosts: Hosts,
    tables: Vec<Table>,
    total: Counts,
    top: Option<usize>,
    has_wire: bool,
}

impl Intervals {
    /// The first one begins now, in a run that makes its own records. Each table has at most
    /// `max_rows` rows, and one for the rest.
    pub fn live(options: &Options, max_rows: usize, host: &Arc<str>, now: Moment) -> Self {
        let increments = Increments::new().by_process().with_sums();
        let mut intervals = Self::new(options, max_rows, increments, now);
        intervals.hosts.number(host);
        intervals
    }

    /// The first one begins now, in recorded records, of which some `remembered` connections that
    /// have not ended are remembered.
    pub fn recorded(options: &Options, max_rows: usize, remembered: usize, now: Moment) -> Self {
        let increments = Increments::new().by_process().remembering(remembered);
        Self::new(options, max_rows, increments, now)
    }

    fn new(options: &Options, max_rows: usize, increments: Increments, now: Moment) -> Self {
        let tables = options.by.iter().map(|by| Table::new(*by, max_rows));
        Self {
            beat: Beat::new(options.every, now.mono_ns),
            started: now,
            increments,
            hosts: Hosts::default(),
            tables: tables.collect(),
            total: Counts::default(),
            top: options.top,
            has_wire: false,
        }
    }

    /// Tells what was on the wire, if `has_wire`; otherwise from the first record on that does.
    #[must_use]
    pub fn with_wire(self, has_wire: bool) -> Self {
        Self { has_wire, ..self }
    }

    /// Begins the first one anew, in which nothing may have happened yet.
    pub fn begin_at(&mut self, now: Moment) {
        self.beat.begin_at(now.mono_ns);
        self.started = now;
    }

    /// The running one, in which nothing may have happened yet, begins at the last time before now
    /// at which one would have.
    pub fn skip_to(&mut self, now: Moment) {
        let passed_ns = self.beat.skip_to(now.mono_ns);
        let passed = i64::try_from(passed_ns).unwrap_or(i64::MAX);
        self.started = Moment {
            mono_ns: now.mono_ns.saturating_sub(passed_ns),
            time: WallTime(now.time.0.saturating_sub(passed)),
        };
    }

    /// How long until the running one is to be closed, nanoseconds.
    pub fn remaining_ns(&self, now_ns: u64) -> u64 {
        self.beat.remaining_ns(now_ns)
    }

    /// When the running one began.
    pub const fn started(&self) -> Moment {
        self.started
    }

    /// Whether nothing has happened in the running one.
    pub fn is_empty(&self) -> bool {
        self.total == Counts::default()
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        let Some(increment) = self.increments.add(record) else {
            return;
        };
        if increment.counts == Counts::default() {
            return;
        }
        self.has_wire |= increment.counts.wire.is_some();
        self.total += increment.counts;
        let facts = Facts::of(record, self.hosts.number(&record.host));
        for table in &mut self.tables {
            table.add(&facts, increment.counts, &increment.users);
        }
    }

    /// Counts connections of this host that were kept as sums only, and those of which only the
    /// end is in a sum: what is left of them.
    pub fn add_folded(&mut self, key: &FoldedKey, totals: &FoldedTotals) {
        let rest = self.increments.rest_of(key, totals);
        let (facts, counts, users) = table::folded(key, &rest);
        self.total += counts;
        for table in &mut self.tables {
            table.add(&facts.facts(), counts, &users);
        }
    }

    /// Forgets a connection whose end nobody will tell.
    pub fn vanished(&mut self, id: ConnectionId) {
        self.increments.vanished(id);
    }

    /// Ends the running one, and begins the next.
    pub fn close(&mut self, now: Moment) -> Interval {
        let Self {
            beat,
            started,
            hosts,
            tables,
            total,
            top,
            has_wire,
            ..
        } = self;
        beat.go_on(now.mono_ns);
        let start = std::mem::replace(started, now);
        Interval {
            start: start.time,
            end: now.time,
            duration_ns: now.mono_ns.saturating_sub(start.mono_ns),
            host: hosts.only().cloned(),
            total: std::mem::take(total),
            tables: tables.iter_mut().map(|table| table.take(hosts)).collect(),
            top: *top,
            has_wire: *has_wire,
        }
    }
}

impl Interval {
    /// `number` a second.
    pub fn rate(&self, number: u64) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is rounded for people anyway"
        )]
        let rate = number as f64 * 1e9 / self.duration_ns as f64;
        (self.duration_ns > 0).then_some(rate)
    }
}
