//! The kernel's numbers beside ours, and what a difference may come from. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::mib::Counters;
use super::seen::{Seen, Tally};
use crate::summary::Loss;

/// What the kernel counted in a namespace while we did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// At least.
    pub low: Counters,
    /// At most.
    pub high: Counters,
    /// Connections that were established when our count started.
    pub established_before: u64,
    /// The namespace was not found at the start, and is taken to have been made later.
    pub is_new: bool,
}

/// One number of ours, and the range in which the kernel's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Ours.
    pub seen: u64,
    /// The kernel's, at least.
    pub low: u64,
    /// The kernel's, at most.
    pub high: u64,
    /// What a difference may come from; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Count {
    /// How many we missed, for certain.
    pub fn missing(&self) -> u64 {
        self.low.saturating_sub(self.seen)
    }

    /// How many we have that the kernel has not, for certain.
    pub fn surplus(&self) -> u64 {
        self.seen.saturating_sub(self.high)
    }

    fn differs(&self) -> bool {
        self.missing() > 0 || self.surplus() > 0
    }
}

/// The likely cause of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The connection table had no room.
    TableFull,
    /// Every buffer was full when connections ended.
    BuffersFull,
    /// The namespace existed before it was first found.
    FoundLate,
    /// Connections were older than the run.
    OlderConnections,
    /// The kernel skipped programs.
    MissedProbes,
    /// None is known.
    Unknown,
}

/// One namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its inode number.
    pub netns: u32,
    /// Outbound attempts whose SYN was queued (`ActiveOpens`).
    pub attempts: Count,
    /// Inbound connections (`PassiveOpens`).
    pub inbound: Count,
    /// Attempts ended by an error (`AttemptFails`, without half-open ones at the lower end).
    pub failures: Count,
    /// Connections cut off while established (`EstabResets`).
    pub resets: Count,
    /// SYNs and last ACKs dropped because an accept queue was full, at most.
    pub listen_overflows: u64,
    /// SYNs and last ACKs dropped by listeners for any reason, at most.
    pub listen_drops: u64,
    /// It was first found at the end: its counters are taken to have started from zero.
    pub is_new: bool,
}

impl Row {
    /// Its numbers that are compared.
    pub fn counts(&self) -> [Count; 4] {
        [self.attempts, self.inbound, self.failures, self.resets]
    }

    /// Whether ours is certainly not the kernel's.
    pub fn differs(&self) -> bool {
        self.counts().iter().any(Count::differs)
    }
}

/// The comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Namespaces in which anything happened.
    pub compared: Vec<Row>,
    /// Namespaces with connections whose counters could not be read at the start and at the end:
    /// they had no process and no name then, or may not be entered.
    pub not_compared: Vec<u32>,
}

impl Reconciliation {
    /// Whether connections are missing for certain.
    ///
    /// How they ended does not count: what older connections did is the kernel's number only.
    /// Nor do namespaces whose counters may have started before.
    pub fn is_short(&self) -> bool {
        let rows = self.compared.iter().filter(|row| !row.is_new);
        rows.flat_map(|row| [row.attempts, row.inbound])
            .any(|count| count.missing() > 0)
    }
}

/// Compares what was seen with what was counted.
pub fn compare(seen: &Tally, bounds: &BTreeMap<u32, Bounds>, loss: &Loss) -> Reconciliation {
    let rows = bounds
        .iter()
        .map(|(netns, bounds)| row(*netns, seen.of(*netns), bounds, loss));
    let happened = |row: &Row| {
        row.listen_drops > 0
            || row
                .counts()
                .iter()
                .any(|count| count.seen > 0 || count.high > 0)
    };
    Reconciliation {
        compared: rows.filter(happened).collect(),
        not_compared: seen
            .namespaces()
            .filter(|netns| !bounds.contains_key(netns))
            .collect(),
    }
}

fn row(netns: u32, seen: Seen, bounds: &Bounds, loss: &Loss) -> Row {
    let Bounds { low, high, .. } = bounds;
    let table_full = [loss.untracked_outbound, loss.untracked_inbound];
    // Connections of both directions have ends, and older ones.
    let of_any_kind = table_full[0] + table_full[1] + loss.untracked_older;
    let count = |ours: u64, [low, high]: [u64; 2], untracked: u64, is_end: bool| {
        let mut count = Count {
            seen: ours,
            low,
            high,
            cause: None,
        };
        let difference = count.missing() + count.surplus();
        if difference > 0 {
            let causes = [
                (bounds.is_new, Cause::FoundLate),
                (count.missing() > 0 && untracked > 0, Cause::TableFull),
                (
                    count.missing() > 0 && loss.lost_connections > 0,
                    Cause::BuffersFull,
                ),
                (loss.missed_probes > 0, Cause::MissedProbes),
                // An end that belongs to no handshake of this run, or one that is told as if its
                // handshake did, since it waited for its accept when the run began.
                (
                    (count.missing() > 0) == is_end && difference <= bounds.established_before,
                    Cause::OlderConnections,
                ),
            ];
            let known = causes.into_iter().find(|(applies, _)| *applies);
            count.cause = Some(known.map_or(Cause::Unknown, |(_, cause)| cause));
        }
        count
    };
    let failures = [
        low.attempt_fails.saturating_sub(high.embryonic_resets),
        high.attempt_fails,
    ];
    Row {
        netns,
        attempts: count(
            seen.attempts,
            [low.active_opens, high.active_opens],
            table_full[0],
            false,
        ),
        inbound: count(
            seen.inbound,
            [low.passive_opens, high.passive_opens],
            table_full[1],
            false,
        ),
        failures: count(seen.failures, failures, of_any_kind, true),
        resets: count(
            seen.resets,
            [low.estab_resets, high.estab_resets],
            of_any_kind,
            true,
        ),
        listen_overflows: high.listen_overflows,
        listen_drops: high.listen_drops,
        is_new: bounds.is_new,
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::folded::{FoldedKey, FoldedTotals};

    use super::*;

    /// What a namespace with these numbers of connects and failures looks like.
    fn tally(netns: u32, connections: u64, failures: u64) -> Tally {
        let mut tally = Tally::default();
        let key = FoldedKey {
            netns,
            ..FoldedKey::default()
        };
        let totals = FoldedTotals {
            connections,
            failures,
            failed: failures,
            ..FoldedTotals::EMPTY
        };
        tally.add_folded(&key, &totals);
        tally
    }

    fn opens(low: u64, high: u64) -> Bounds {
        let counters = |active_opens| Counters {
            active_opens,
            ..Counters::default()
        };
        Bounds {
            low: counters(low),
            high: counters(high),
            ..Bounds::default()
        }
    }

    fn attempts(seen: u64, bounds: Bounds, loss: Loss) -> (Count, bool) {
        let bounds = BTreeMap::from([(7, bounds)]);
        let result = compare(&tally(7, seen, 0), &bounds, &loss);
        (result.compared[0].attempts, result.is_short())
    }

    #[test]
    fn what_lies_in_the_range_is_no_difference() {
        for seen in [10, 11, 12] {
            let (count, short) = attempts(seen, opens(10, 12), Loss::default());
            assert_eq!((count.cause, short), (None, false));
        }
        let (count, short) = attempts(9, opens(10, 12), Loss::default());
        assert_eq!((count.missing(), count.surplus(), short), (1, 0, true));
        let (count, short) = attempts(13, opens(10, 12), Loss::default());
        assert_eq!((count.missing(), count.surplus(), short), (0, 1, false));
        assert_eq!(count.cause, Some(Cause::Unknown));
    }

    #[test]
    fn a_difference_has_its_likely_cause() {
        let loss = |change: fn(&mut Loss)| {
            let mut loss = Loss::default();
            change(&mut loss);
            loss
        };
        for (loss, cause) in [
            (loss(|it| it.untracked_outbound = 5), Cause::TableFull),
            (loss(|it| it.lost_connections = 5), Cause::BuffersFull),
            (loss(|it| it.missed_probes = 5), Cause::MissedProbes),
            (loss(|it| it.untracked_inbound = 5), Cause::Unknown),
            (Loss::default(), Cause::Unknown),
        ] {
            assert_eq!(attempts(5, opens(10, 10), loss).0.cause, Some(cause));
        }
    }

    #[test]
    fn a_namespace_found_late_is_never_short() {
        let bounds = Bounds {
            is_new: true,
            ..opens(10, 10)
        };
        let (count, short) = attempts(5, bounds, Loss::default());
        assert_eq!((count.cause, short), (Some(Cause::FoundLate), false));
    }

    fn ends(seen: &Tally, bounds: Bounds) -> [Count; 2] {
        let result = compare(seen, &BTreeMap::from([(7, bounds)]), &Loss::default());
        assert!(!result.is_short());
        [result.compared[0].failures, result.compared[0].resets]
    }

    #[test]
    fn half_open_connections_widen_the_range_of_failures() {
        let counters = Counters {
            active_opens: 5,
            attempt_fails: 5,
            embryonic_resets: 2,
            ..Counters::default()
        };
        let bounds = Bounds {
            low: counters,
            high: counters,
            ..Bounds::default()
        };
        let [failures, _] = ends(&tally(7, 1, 4), bounds);
        assert_eq!((failures.low, failures.high, failures.cause), (3, 5, None));
    }

    #[test]
    fn resets_of_older_connections_and_of_sums_are_explained() {
        let counters = Counters {
            estab_resets: 3,
            ..Counters::default()
        };
        let bounds = Bounds {
            low: counters,
            high: counters,
            established_before: 4,
            is_new: false,
        };
        let [_, resets] = ends(&Tally::default(), bounds);
        assert_eq!(resets.cause, Some(Cause::OlderConnections));
    }

    #[test]
    fn a_handshake_too_many_waited_for_its_accept_since_before() {
        let mut seen = Tally::default();
        let key = FoldedKey {
            netns: 7,
            inbound: 1,
            ..FoldedKey::default()
        };
        let totals = FoldedTotals {
            connections: 2,
            ..FoldedTotals::EMPTY
        };
        seen.add_folded(&key, &totals);
        for (established_before, cause) in [(2, Cause::OlderConnections), (1, Cause::Unknown)] {
            let bounds = Bounds {
                established_before,
                ..Bounds::default()
            };
            let result = compare(&seen, &BTreeMap::from([(7, bounds)]), &Loss::default());
            assert_eq!(result.compared[0].inbound.surplus(), 2);
            assert_eq!(result.compared[0].inbound.cause, Some(cause));
        }
    }

    #[test]
    fn quiet_namespaces_have_no_row_and_unread_ones_are_named() {
        let bounds = BTreeMap::from([(7, Bounds::default())]);
        let result = compare(&tally(8, 1, 0), &bounds, &Loss::default());
        assert_eq!(result.compared, []);
        assert_eq!(result.not_compared, [8]);
        assert!(!result.is_short());
    }
}
