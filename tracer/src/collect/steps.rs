//! Reading large tables: a bounded number of entries a step.

use std::io;

use hashbrown::HashSet;
use tracer_common::connection::{ConnectionKey, flags};
use tracer_common::counters::Counter;
use tracer_common::sample::Sample;

use super::Collector;
use super::at_end::Look as _;
use crate::bpf::ring::Ring;
use crate::bpf::sample::Pass;
use crate::bpf::snapshot::{ConnectionsCursor, PendingCursor, UsersCursor};
use crate::clock;
use crate::record::Out;

/// Connections looked up in one step.
const LOOK_UPS: usize = 1024;

/// What is left to read of something.
pub(super) enum Step {
    /// Releases that found the ring full.
    Late(PendingCursor),
    /// Connections on these sockets moved bytes.
    Touched(Vec<u64>),
    /// The counters of open sockets.
    Samples(Pass<Sample>),
    /// The table, for what the ring could not take.
    Table(ConnectionsCursor),
    /// What was not in the table left as a sum.
    Vanished,
    /// Rows in the users map of connections that are over. With those that were so in this pass.
    Orphans(UsersCursor, HashSet<ConnectionKey>),
    /// At the end: the table, for what is still open.
    Open(ConnectionsCursor),
    /// The last of those whose users were not found at once.
    Unsettled,
}

impl Step {
    /// Reads what is still open.
    pub(super) fn open() -> Self {
        Self::Open(ConnectionsCursor::new())
    }
}

impl Collector {
    /// Takes a step; returns whether there are more. What failed is not tried again, the rest is.
    pub fn step(&mut self, ring: &mut Ring, out: &mut impl Out) -> io::Result<bool> {
        let Some(step) = self.steps.pop_front() else {
            return Ok(false);
        };
        if let Some(rest) = self.take(step, ring, out)? {
            self.steps.push_front(rest);
        }
        Ok(!self.steps.is_empty())
    }

    /// Returns what is left of it.
    fn take(
        &mut self,
        mut step: Step,
        ring: &mut Ring,
        out: &mut impl Out,
    ) -> io::Result<Option<Step>> {
        let more = match &mut step {
            Step::Late(cursor) => self.late_releases(cursor, ring, out)?,
            Step::Touched(sockets) => self.touched(sockets, out),
            Step::Samples(pass) => self.sampled(pass, out)?,
            Step::Table(cursor) => self.table(cursor, out)?,
            Step::Vanished => {
                // Ends that were told by the ring are over in the usual way.
                self.read_ring(ring, ring.most_records(), out);
                self.track.forget_vanished(out);
                false
            }
            Step::Orphans(cursor, found) => self.orphans(cursor, found)?,
            Step::Open(cursor) => self.open(cursor, out)?,
            Step::Unsettled => {
                self.settle(out)?;
                false
            }
        };
        Ok(more.then_some(step))
    }

    /// Starts a pass over the pending map, unless one is to be started anyway.
    pub(super) fn look_for_late_releases(&mut self) {
        // The first step may have passed the place of the newest release.
        let is_to_come = |step: &Step| matches!(step, Step::Late(_));
        if !self.steps.iter().skip(1).any(is_to_come) {
            self.track.age_late_releases();
            self.steps.push_back(Step::Late(PendingCursor::new()));
        }
    }

    /// The pending map is read first and told last: news of the same connections are in the ring
    /// already, and must not come after their end.
    fn late_releases(
        &mut self,
        cursor: &mut PendingCursor,
        ring: &mut Ring,
        out: &mut impl Out,
    ) -> io::Result<bool> {
        let mut late = Vec::new();
        let more = self
            .maps
            .take_pending(cursor, |key, connection| late.push((key, connection)));
        self.read_ring(ring, ring.most_records(), out);
        for (key, connection) in &late {
            self.take_users(*key, connection);
            self.track.late_release(*key, connection, &self.rows, out);
        }
        more
    }

    fn touched(&mut self, sockets: &mut Vec<u64>, out: &mut impl Out) -> bool {
        let now_ns = clock::mono_ns();
        let rest = sockets.len().saturating_sub(LOOK_UPS);
        for sk in sockets.drain(rest..) {
            let Some((key, connection)) = self.maps.connection_on(sk) else {
                continue;
            };
            self.look_for_users(key, &connection);
            self.track
                .traffic(key, &connection, &self.rows, now_ns, out);
            // Touched again since the interval ended: it will not say so a second time.
            if connection.epoch == self.maps.epoch() {
                self.touched.insert(sk);
            }
        }
        rest > 0
    }

    fn sampled(&mut self, pass: &mut Pass<Sample>, out: &mut impl Out) -> io::Result<bool> {
        let Some(samples) = &mut self.samples else {
            return Ok(false);
        };
        let mut moved = Vec::new();
        let more = samples.step(pass, |sample| {
            if self.track.has_moved(sample.key(), sample.position()) {
                moved.push(sample);
            }
        })?;
        let now_ns = clock::mono_ns();
        for sample in moved {
            if let Some((key, mut connection)) = self.maps.connection_on(sample.sk) {
                sample.apply(&mut connection);
                // Their owner gets all.
                self.track.traffic(key, &connection, &[], now_ns, out);
            }
        }
        Ok(more)
    }

    /// Has the table read for what the ring could not take.
    pub(super) fn sweep(&mut self) {
        let folded = self.maps.counter(Counter::Folded) + self.maps.counter(Counter::FoldLost);
        let some_folded = std::mem::replace(&mut self.folded_seen, folded) != folded;
        self.look_for_late_releases();
        self.track.start_sweep();
        if self.wanted.stages {
            self.steps.push_back(Step::Table(ConnectionsCursor::new()));
        }
        if some_folded {
            // What was released during the pass over the table is no sum.
            self.look_for_late_releases();
            self.steps.push_back(Step::Vanished);
            let orphans = Step::Orphans(UsersCursor::new(), HashSet::new());
            self.steps.push_back(orphans);
        }
    }

    fn table(&mut self, cursor: &mut ConnectionsCursor, out: &mut impl Out) -> io::Result<bool> {
        let mut batch = Vec::new();
        let more = self
            .maps
            .next_connections(cursor, |key, connection| batch.push((key, connection)));
        let now_ns = clock::mono_ns();
        for (key, connection) in &batch {
            self.track.in_table(key);
            if self.wanted.traffic {
                self.look_for_users(*key, connection);
                self.track
                    .traffic(*key, connection, &self.rows, now_ns, out);
            } else if connection.flags & (flags::RELEASED | flags::UNDECIDED) == 0 {
                self.track.news(*key, connection, &[], out);
            }
        }
        more
    }

    fn open(&mut self, cursor: &mut ConnectionsCursor, out: &mut impl Out) -> io::Result<bool> {
        let mut batch = Vec::new();
        let more = self.maps.next_connections(cursor, |key, connection| {
            if connection.flags & (flags::UNDECIDED | flags::RELEASED) == 0 {
                batch.push((key, connection));
            }
        });
        let now_ns = clock::mono_ns();
        for (key, connection) in &mut batch {
            if let Some(samples) = &self.samples {
                samples.at_end.apply(*key, connection);
            }
            if let Some(wire) = &self.wire {
                wire.apply(*key, connection);
            }
            if connection.is(flags::FAILED) {
                // Its release was missed.
                self.track.news(*key, connection, &[], out);
            } else if self.find_users(*key, connection) {
                self.track
                    .open_at_exit(*key, connection, &self.rows, now_ns, out);
            } else {
                self.unsettled.push((*key, *connection));
            }
        }
        if self.unsettled.len() >= LOOK_UPS {
            self.settle(out)?;
        }
        more
    }

    fn settle(&mut self, out: &mut impl Out) -> io::Result<()> {
        let unsettled = std::mem::take(&mut self.unsettled);
        if unsettled.is_empty() {
            return Ok(());
        }
        let users = self.users_of(unsettled.iter().map(|(key, _)| *key));
        let now_ns = clock::mono_ns();
        for (key, connection) in &unsettled {
            let found = users.as_ref().ok().and_then(|users| users.get(key));
            let rows = found.map_or(&[][..], Vec::as_slice);
            self.track.open_at_exit(*key, connection, rows, now_ns, out);
        }
        users.map(|_| ())
    }
}
