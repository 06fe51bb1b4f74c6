//! Our records, counted as the kernel counts. Pure.

use std::collections::BTreeMap;

use tracer_common::connection::Connection;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::record::{Direction, EventKind, Record};

/// What the kernel's counters make of a connection, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The kernel counted no opening in this run: its handshake was before, or it never got as far
    /// as to queue its SYN.
    pub unopened: bool,
    /// It ended by an error before it was established.
    pub failed: bool,
    /// It ended while established, without a FIN from here.
    pub cut_off: bool,
}

impl Ending {
    /// Reads it off the connection's state.
    pub fn of(connection: &Connection) -> Self {
        Self {
            unopened: connection.is_unopened(),
            failed: connection.failed_by_error(),
            cut_off: connection.was_cut_off(),
        }
    }
}

/// One namespace's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Outbound attempts whose SYN was queued.
    pub attempts: u64,
    /// Inbound connections.
    pub inbound: u64,
    /// Attempts that ended by an error.
    pub failures: u64,
    /// Connections that were cut off.
    pub resets: u64,
}

/// Counts by namespace.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<u32, Seen>);

impl Tally {
    /// Counts a record that ends a connection's story.
    pub fn add(&mut self, record: &Record) {
        let (EventKind::Failed | EventKind::Close | EventKind::OpenAtExit) = record.event else {
            return;
        };
        let seen = self.0.entry(record.netns).or_default();
        let Ending {
            unopened,
            failed,
            cut_off,
        } = record.ending;
        match record.direction {
            Direction::Inbound => seen.inbound += u64::from(!unopened),
            Direction::Outbound => seen.attempts += u64::from(!unopened),
        }
        seen.failures += u64::from(failed);
        seen.resets += u64::from(cut_off);
    }

    /// Counts connections that were kept as sums only.
    pub fn add_folded(&mut self, key: &FoldedKey, totals: &FoldedTotals) {
        let seen = self.0.entry(key.netns).or_default();
        let all = totals.connections + totals.pre_existing + totals.failures;
        let opened = all.saturating_sub(totals.unopened);
        if key.inbound == 1 {
            seen.inbound += opened;
        } else {
            seen.attempts += opened;
        }
        seen.failures += totals.failed;
        seen.resets += totals.cut_off;
    }

    /// What was seen in a namespace.
    pub fn of(&self, netns: u32) -> Seen {
        self.0.get(&netns).copied().unwrap_or_default()
    }

    /// The namespaces in which something was.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::connection::flags;
    use tracer_common::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT2, SYN_RECV, SYN_SENT};

    use super::*;
    use crate::sink::samples::inbound;

    fn ended(error: u32, before: u8) -> Connection {
        let mut connection = Connection {
            error,
            closed_ns: 5,
            state_before_close: before.into(),
            flags: flags::HAS_COUNTERS,
            ..Connection::EMPTY
        };
        connection.flow.local_port = 4000;
        connection
    }

    #[test]
    fn only_what_leaves_an_established_state_for_close_is_cut_off() {
        for (before, cut_off) in [
            (ESTABLISHED, true),
            (CLOSE_WAIT, true),
            (FIN_WAIT2, false),
            (SYN_SENT, false),
        ] {
            assert_eq!(Ending::of(&ended(0, before)).cut_off, cut_off);
        }
        let mut open = ended(0, ESTABLISHED);
        open.closed_ns = 0;
        assert_eq!(Ending::of(&open), Ending::default());
    }

    #[test]
    fn only_an_error_before_the_connection_is_established_is_a_failure() {
        for (error, before, failed) in [
            (111, SYN_SENT, true),
            (104, SYN_RECV, true),
            (0, SYN_SENT, false),
            (104, ESTABLISHED, false),
        ] {
            assert_eq!(Ending::of(&ended(error, before)).failed, failed);
        }
    }

    #[test]
    fn an_attempt_counts_from_its_syn_on() {
        let mut attempt = ended(0, SYN_SENT);
        attempt.flags |= flags::FAILED;
        for (write_seq, snd_una, port, unopened) in [
            (1001, 1000, 4000, false),
            (0, u32::MAX, 4000, false),
            (0, 0, 4000, true),
            (0x9000_0000, 0, 4000, true),
            (1001, 1000, 0, true),
        ] {
            (attempt.tcp.write_seq, attempt.tcp.snd_una) = (write_seq, snd_una);
            attempt.flow.local_port = port;
            assert_eq!(Ending::of(&attempt).unopened, unopened);
        }
    }

    fn seen_of(event: EventKind, direction: Direction, ending: Ending) -> Seen {
        let record = Record {
            event,
            direction,
            ending,
            ..inbound(event)
        };
        let mut tally = Tally::default();
        tally.add(&record);
        tally.of(record.netns)
    }

    #[test]
    fn failures_are_attempts_and_count_as_failures_only_by_an_error() {
        let outbound = |failed, unopened| {
            let ending = Ending {
                failed,
                unopened,
                cut_off: false,
            };
            let seen = seen_of(EventKind::Failed, Direction::Outbound, ending);
            (seen.attempts, seen.failures)
        };
        assert_eq!(outbound(true, false), (1, 1));
        assert_eq!(outbound(false, false), (1, 0));
        assert_eq!(outbound(false, true), (0, 0));
    }

    #[test]
    fn a_connection_counts_once_by_the_record_with_its_totals_and_an_older_one_by_its_end() {
        let ending = Ending {
            cut_off: true,
            ..Ending::default()
        };
        for event in [EventKind::Close, EventKind::OpenAtExit] {
            let seen = seen_of(event, Direction::Inbound, ending);
            let expected = Seen {
                inbound: 1,
                resets: 1,
                ..Seen::default()
            };
            assert_eq!(seen, expected);
        }
        let older = Record {
            event: EventKind::Close,
            ending: Ending {
                unopened: true,
                ..ending
            },
            ..inbound(EventKind::Close)
        };
        let mut tally = Tally::default();
        tally.add(&older);
        let seen = tally.of(older.netns);
        assert_eq!((seen.inbound, seen.resets), (0, 1));
        for event in [EventKind::Open, EventKind::Ended, EventKind::Accept] {
            assert_eq!(seen_of(event, Direction::Inbound, ending), Seen::default());
        }
    }

    #[test]
    fn sums_count_too() {
        let mut tally = Tally::default();
        let totals = FoldedTotals {
            connections: 5,
            pre_existing: 3,
            failures: 2,
            unopened: 4,
            failed: 1,
            cut_off: 2,
            ..FoldedTotals::EMPTY
        };
        let key = FoldedKey {
            netns: 7,
            ..FoldedKey::default()
        };
        tally.add_folded(&key, &totals);
        let seen = tally.of(7);
        assert_eq!((seen.attempts, seen.failures, seen.resets), (6, 1, 2));
        assert_eq!(tally.namespaces().collect::<Vec<_>>(), [7]);
    }
}
