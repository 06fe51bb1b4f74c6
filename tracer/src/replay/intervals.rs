//! Intervals of recorded records, by the records' own time. Pure.
//!
//! Files come one after the other, each in the order of its time, but for what was late: that is in
//! the running interval, as it was when it was recorded. A file that begins before the running
//! interval, as that of another host, has intervals of its own. Intervals in which nothing happened
//! are left out: there can be years between two records.

use crate::clock::Moment;
use crate::interval::{Interval, Intervals, Options};
use crate::record::{Record, WallTime};

/// Connections without an end that are remembered, each as some 100 bytes.
const UNENDED: usize = 1 << 20;

/// Takes records and gives intervals.
#[derive(Debug)]
pub struct Slices {
    options: Options,
    max_rows: usize,
    /// Since the first record.
    running: Option<Intervals>,
    /// The latest record's time.
    latest: Moment,
    is_new_file: bool,
}

impl Slices {
    /// Tables of at most `max_rows` rows each.
    pub const fn new(options: Options, max_rows: usize) -> Self {
        Self {
            options,
            max_rows,
            running: None,
            latest: at(WallTime(0)),
            is_new_file: false,
        }
    }

    /// The next record is the first one of a file.
    pub const fn begin_file(&mut self) {
        self.is_new_file = true;
    }

    /// Counts a record; returns the interval that has ended before it.
    pub fn add(&mut self, record: &Record) -> Option<Interval> {
        let now = at(record.time);
        let is_new_file = std::mem::take(&mut self.is_new_file);
        let running = self.running.get_or_insert_with(|| {
            self.latest = now;
            Intervals::recorded(&self.options, self.max_rows, UNENDED, now)
        });
        let mut closed = None;
        if is_new_file && now.mono_ns < running.started().mono_ns {
            closed = close(running, self.latest);
            running.begin_at(now);
            self.latest = now;
        } else if running.remaining_ns(now.mono_ns) == 0 {
            closed = close(running, now);
            running.skip_to(now);
        }
        running.add(record);
        if now.mono_ns > self.latest.mono_ns {
            self.latest = now;
        }
        closed
    }

    /// The last interval, which ends with the last record.
    pub fn finish(&mut self) -> Option<Interval> {
        let running = self.running.as_mut()?;
        close(running, self.latest)
    }
}

/// Ends the running interval at its time or, if there is no later record, with the latest one;
/// `None` if nothing happened in it.
fn close(running: &mut Intervals, latest: Moment) -> Option<Interval> {
    if running.is_empty() {
        return None;
    }
    let ahead_ns = running.remaining_ns(0);
    let end_ns = i64::try_from(ahead_ns).unwrap_or(i64::MAX);
    let end = at(WallTime(end_ns.min(latest.time.0)));
    Some(running.close(end))
}

/// A time of the wall as that of both clocks.
const fn at(time: WallTime) -> Moment {
    let ns = if time.0 < 0 { 0 } else { time.0 };
    Moment {
        mono_ns: ns.unsigned_abs(),
        time: WallTime(ns),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::interval::dimension::Dimension;
    use crate::record::{ConnectionId, EventKind};
    use crate::sink::samples::inbound;
    use crate::wire::Wire;

    fn slices() -> Slices {
        let options = Options {
            every: Duration::from_secs(10),
            by: Dimension::USUAL.to_vec(),
            top: None,
            records: false,
        };
        Slices::new(options, 10)
    }

    fn accept(seconds: i64) -> Record {
        Record {
            time: WallTime(seconds * 1_000_000_000),
            id: ConnectionId(seconds.unsigned_abs()),
            ..inbound(EventKind::Accept)
        }
    }

    /// Start, end, and accepts of each.
    fn told(slices: &mut Slices, files: &[&[i64]]) -> Vec<(i64, i64, u64)> {
        let mut closed = Vec::new();
        for file in files {
            slices.begin_file();
            closed.extend(
                file.iter()
                    .filter_map(|seconds| slices.add(&accept(*seconds))),
            );
        }
        closed.extend(slices.finish());
        let seconds = |time: WallTime| time.0 / 1_000_000_000;
        let each = closed.iter();
        each.map(|it| (seconds(it.start), seconds(it.end), it.total.accepts))
            .collect()
    }

    #[test]
    fn intervals_are_those_of_the_records_times_and_empty_ones_are_left_out() {
        assert_eq!(
            told(&mut slices(), &[&[100, 103, 109, 110, 125, 157, 158]]),
            [(100, 110, 3), (110, 120, 1), (120, 130, 1), (150, 158, 2)]
        );
        assert_eq!(told(&mut slices(), &[&[], &[]]), []);
        assert_eq!(told(&mut slices(), &[&[-5, 7]]), [(0, 7, 2)]);
        assert_eq!(told(&mut slices(), &[&[5]]), [(5, 5, 1)]);
    }

    #[test]
    fn what_was_on_the_wire_is_in_the_interval_of_the_end() {
        let wire = Wire {
            segments_out: 3,
            ..Wire::default()
        };
        let close = Record {
            event: EventKind::Close,
            time: WallTime(115_000_000_000),
            wire: Some(wire),
            ..accept(100)
        };
        let mut slices = slices();
        let records = [accept(100), close, accept(120)];
        let mut closed: Vec<_> = records.iter().filter_map(|it| slices.add(it)).collect();
        closed.extend(slices.finish());
        let told: Vec<_> = closed.iter().map(|it| it.total.wire).collect();
        assert_eq!(told, [None, Some(wire), None]);
    }

    #[test]
    fn what_was_late_is_in_the_running_interval() {
        assert_eq!(
            told(&mut slices(), &[&[100, 112, 105, 113]]),
            [(100, 110, 1), (110, 113, 3)]
        );
    }

    #[test]
    fn a_file_that_goes_on_shares_intervals_and_one_that_begins_before_has_its_own() {
        assert_eq!(
            told(&mut slices(), &[&[100, 103], &[105, 111]]),
            [(100, 110, 3), (110, 111, 1)]
        );
        assert_eq!(
            told(&mut slices(), &[&[100, 112, 114], &[101, 102]]),
            [(100, 110, 1), (110, 114, 2), (101, 102, 2)]
        );
    }
}
