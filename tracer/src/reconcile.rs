//! What was seen against what the kernel itself counted, in every network namespace.
//!
//! | the kernel counts | when | we |
//! |---|---|---|
//! | `ActiveOpens` | a SYN is queued | outbound attempts whose SYN was queued |
//! | `PassiveOpens` | a handshake is done (with Fast Open: its SYN came) | inbound connections, accepted or not |
//! | `AttemptFails` | an attempt ends by an error, and with `EmbryonicRsts` a half-open one here by a RST | failed attempts that ended by an error |
//! | `EstabResets` | ESTABLISHED or `CLOSE_WAIT` -> CLOSE | the same |
//! | `ListenOverflows`, `ListenDrops` | a listener drops a SYN or a last ACK | nothing: such a client tries again |
//!
//! Attempts without a local port, or given up by a call before there was an answer, are failures to
//! us and no `AttemptFails`.
//!
//! Our count starts and stops at one moment each, the kernel's is read shortly before and after:
//! the truth lies in a range, which is a single number if nothing happened meanwhile.

pub mod compare;
pub mod mib;
pub mod readings;
pub mod seen;

pub use compare::Reconciliation;
pub use seen::{Ending, Tally};

use std::collections::BTreeMap;

use crate::options::FilterOptions;
use crate::summary::Loss;
use compare::Bounds;
use mib::Counters;
use readings::{Places, Readings};

/// Reads the kernel's counters when our count starts and when it stops.
#[derive(Debug)]
pub struct Watch {
    /// Namespaces asked for; empty = all.
    wanted: Vec<u32>,
    /// Before and after the start, and the stop.
    moments: Vec<(Readings, Readings)>,
    /// Namespaces that were there at the start and could not be read.
    unread: Vec<u32>,
    /// Those that were there, until [`Watch::older_are_known`].
    at_start: Option<Places>,
}

impl Watch {
    /// `None` if a filter hides a part of what the kernel counts.
    pub fn new(filter: &FilterOptions) -> Option<Self> {
        let unfiltered = FilterOptions {
            netns: filter.netns.clone(),
            ..FilterOptions::default()
        };
        (*filter == unfiltered).then(|| Self {
            wanted: filter.netns.clone(),
            moments: Vec::new(),
            unread: Vec::new(),
            at_start: None,
        })
    }

    /// Makes a change, which starts or stops our count, between two readings.
    pub fn around<T>(watch: &mut Option<Self>, change: impl FnOnce() -> T) -> T {
        let Some(watch) = watch else { return change() };
        let places = Places::find(&watch.wanted);
        let before = places.read();
        let result = change();
        let after = places.read();
        if watch.moments.is_empty() {
            watch.unread = places.without(&after);
            // Who names a namespace means one that exists already.
            watch.unread.extend(
                watch
                    .wanted
                    .iter()
                    .filter(|netns| !after.contains_key(*netns)),
            );
            watch.at_start = Some(places);
        }
        watch.moments.push((before, after));
        result
    }

    /// From now on the ends of connections older than our count are seen, too.
    pub fn older_are_known(watch: &mut Option<Self>) {
        let Some(watch) = watch else { return };
        if let Some(places) = watch.at_start.take()
            && let Some((_, start)) = watch.moments.first_mut()
        {
            count_ends_from(&places.read(), start);
        }
    }

    /// Compares, once the count has started and stopped.
    pub fn conclude(self, seen: &Tally, loss: &Loss) -> Option<Reconciliation> {
        let [(start_before, start_after), (stop_before, stop_after)] =
            <[_; 2]>::try_from(self.moments).ok()?;
        let mut bounds = BTreeMap::new();
        for (netns, last) in &stop_after {
            let start = (start_before.get(netns), start_after.get(netns));
            let is_new = start.0.is_none() && start.1.is_none() && !self.unread.contains(netns);
            let (first, second) = match start {
                (Some(before), Some(after)) => (*before, *after),
                _ if is_new => (Counters::default(), Counters::default()),
                _ => continue,
            };
            let earlier = stop_before.get(netns).copied().unwrap_or(second);
            bounds.insert(
                *netns,
                Bounds {
                    low: earlier - second,
                    high: *last - first,
                    established_before: first.established,
                    is_new,
                },
            );
        }
        Some(compare::compare(seen, &bounds, loss))
    }
}

/// Ends in `start` count from `now` on, handshakes from where they did.
fn count_ends_from(now: &Readings, start: &mut Readings) {
    for (netns, counters) in start {
        if let Some(now) = now.get(netns) {
            counters.attempt_fails = now.attempt_fails;
            counters.estab_resets = now.estab_resets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_filter_on_the_namespace_hides_nothing() {
        let all = FilterOptions::default();
        assert!(Watch::new(&all).is_some());
        let one = FilterOptions {
            netns: vec![7],
            ..all.clone()
        };
        assert_eq!(Watch::new(&one).unwrap().wanted, [7]);
        for filter in [
            FilterOptions {
                pids: vec![1],
                ..one.clone()
            },
            FilterOptions {
                loopback: false,
                ..all.clone()
            },
            FilterOptions {
                local_ports: Some("80".parse().unwrap()),
                ..all
            },
        ] {
            assert!(Watch::new(&filter).is_none(), "{filter:?}");
        }
    }

    fn opens(number: u64) -> Readings {
        let counters = Counters {
            active_opens: number,
            ..Counters::default()
        };
        BTreeMap::from([(7, counters)])
    }

    fn attempts(moments: [(Readings, Readings); 2], unread: Vec<u32>) -> Option<(u64, u64)> {
        let watch = Watch {
            wanted: Vec::new(),
            moments: moments.into(),
            unread,
            at_start: None,
        };
        let result = watch.conclude(&Tally::default(), &Loss::default()).unwrap();
        let row = result.compared.first()?;
        Some((row.attempts.low, row.attempts.high))
    }

    #[test]
    fn the_range_spans_what_came_between_the_readings() {
        let moments = [(opens(10), opens(11)), (opens(20), opens(22))];
        assert_eq!(attempts(moments, Vec::new()), Some((9, 12)));
    }

    #[test]
    fn ends_count_from_when_older_connections_are_known() {
        let [start, now] = [1, 5].map(|number| Counters {
            active_opens: number,
            attempt_fails: number,
            estab_resets: number,
            ..Counters::default()
        });
        let mut readings = BTreeMap::from([(7, start), (8, start)]);
        count_ends_from(&BTreeMap::from([(7, now)]), &mut readings);
        let expected = Counters {
            active_opens: 1,
            ..now
        };
        assert_eq!(readings, BTreeMap::from([(7, expected), (8, start)]));
    }

    #[test]
    fn a_new_namespace_started_from_nothing_and_an_unreadable_one_tells_nothing() {
        let moments = || [Default::default(), (opens(20), opens(22))];
        assert_eq!(attempts(moments(), Vec::new()), Some((20, 22)));
        assert_eq!(attempts(moments(), vec![7]), None);
    }
}
