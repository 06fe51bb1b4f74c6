//! The TIME column: by the clock on the wall, or so that distances can be read.

use std::fmt::{Result, Write};

use jiff::tz::TimeZone;

use super::columns::Column;
use crate::record::Record;

/// What the TIME column shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// The time of day.
    #[default]
    Wall,
    /// Seconds since the start of the run or, of recorded records, since the first one.
    Relative,
    /// Seconds since the line before.
    Delta,
    /// Seconds of the monotonic clock.
    Mono,
    /// Nothing: there is no such column.
    None,
}

/// By which clock times relative to each other are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The monotonic one of this run, which nobody sets.
    Mono,
    /// That on the wall: of recorded records, perhaps of several hosts, the monotonic ones have
    /// nothing in common.
    Wall,
}

/// Writes the column.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    style: TimeStyle,
    milliseconds: bool,
    measure: Measure,
    /// Where relative times are counted from, once that is known.
    origin_ns: Option<i128>,
    /// When the line before was.
    before_ns: Option<i128>,
}

impl Clock {
    pub(super) const fn new(style: TimeStyle, milliseconds: bool, measure: Measure) -> Self {
        Self {
            style,
            milliseconds,
            measure,
            origin_ns: None,
            before_ns: None,
        }
    }

    /// Tracing begins.
    pub(super) fn begin(&mut self, mono_ns: u64) {
        self.origin_ns = Some(i128::from(mono_ns));
    }

    /// Seconds get wider as they grow, up to those of a day (of a year, since the machine started).
    pub(super) const fn column(&self) -> Option<Column> {
        Some(match self.style {
            TimeStyle::Wall if self.milliseconds => {
                Column::left("TIME", "HH:MM:SS.mmm".len(), "HH:MM:SS.mmm".len())
            }
            TimeStyle::Wall => Column::left("TIME", "HH:MM:SS".len(), "HH:MM:SS.mmm".len()),
            TimeStyle::Relative | TimeStyle::Delta => Column::right("TIME", "0.000000".len(), 12),
            TimeStyle::Mono => Column::right("TIME", "0.000000".len(), "12345678.901234".len()),
            TimeStyle::None => return None,
        })
    }

    pub(super) fn write(&mut self, record: &Record, zone: &TimeZone, cell: &mut String) -> Result {
        let at_ns = match self.measure {
            Measure::Mono => i128::from(record.mono_ns),
            Measure::Wall => i128::from(record.time.0),
        };
        match self.style {
            TimeStyle::Wall => self.write_wall(record, zone, cell),
            TimeStyle::Relative => {
                let origin_ns = *self.origin_ns.get_or_insert(at_ns);
                write_seconds(at_ns - origin_ns, cell)
            }
            TimeStyle::Delta => {
                let before_ns = self.before_ns.replace(at_ns).unwrap_or(at_ns);
                write_seconds(at_ns - before_ns, cell)
            }
            TimeStyle::Mono => write_seconds(i128::from(record.mono_ns), cell),
            TimeStyle::None => Ok(()),
        }
    }

    fn write_wall(&self, record: &Record, zone: &TimeZone, cell: &mut String) -> Result {
        let ns = i128::from(record.time.0);
        let time = jiff::Timestamp::from_nanosecond(ns).unwrap_or_default();
        let local = zone.to_datetime(time);
        let (hour, minute, second) = (local.hour(), local.minute(), local.second());
        write!(cell, "{hour:02}:{minute:02}:{second:02}")?;
        if self.milliseconds {
            write!(cell, ".{:03}", local.millisecond())?;
        }
        Ok(())
    }
}

/// To the microsecond. A record can be of before the one that came before it: then it was late.
fn write_seconds(ns: i128, cell: &mut String) -> Result {
    let sign = if ns < 0 { "-" } else { "" };
    let us = ns.unsigned_abs() / 1_000;
    write!(cell, "{sign}{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EventKind, WallTime};
    use crate::sink::samples::inbound;

    fn at(mono_ns: u64) -> Record {
        let accept = inbound(EventKind::Accept);
        Record {
            mono_ns,
            time: WallTime(accept.time.0 + i64::try_from(mono_ns).unwrap()),
            ..accept
        }
    }

    fn written(mut clock: Clock, times: &[u64]) -> Vec<String> {
        let each = |ns: &u64| {
            let mut cell = String::new();
            clock.write(&at(*ns), &TimeZone::UTC, &mut cell).unwrap();
            cell
        };
        times.iter().map(each).collect()
    }

    const TIMES: [u64; 4] = [5_000_000_000, 5_000_001_999, 4_999_000_000, 7_250_000_000];

    #[test]
    fn relative_times_count_from_the_start_of_the_run() {
        let mut clock = Clock::new(TimeStyle::Relative, true, Measure::Mono);
        clock.begin(4_000_000_000);
        assert_eq!(
            written(clock, &TIMES),
            ["1.000000", "1.000001", "0.999000", "3.250000"]
        );
    }

    #[test]
    fn relative_times_of_recorded_records_count_from_the_first_one() {
        let clock = Clock::new(TimeStyle::Relative, true, Measure::Wall);
        assert_eq!(
            written(clock, &TIMES),
            ["0.000000", "0.000001", "-0.001000", "2.250000"]
        );
    }

    #[test]
    fn deltas_add_up_to_the_distance_and_may_go_back() {
        for measure in [Measure::Mono, Measure::Wall] {
            let clock = Clock::new(TimeStyle::Delta, true, measure);
            assert_eq!(
                written(clock, &TIMES),
                ["0.000000", "0.000001", "-0.001001", "2.251000"]
            );
        }
    }

    #[test]
    fn monotonic_times_are_those_of_the_records() {
        let clock = Clock::new(TimeStyle::Mono, true, Measure::Wall);
        assert_eq!(
            written(clock, &[0, 123_456_789_012_345]),
            ["0.000000", "123456.789012"]
        );
    }

    #[test]
    fn without_times_there_is_no_column() {
        assert!(
            Clock::new(TimeStyle::None, true, Measure::Mono)
                .column()
                .is_none()
        );
        assert_eq!(
            written(Clock::new(TimeStyle::None, true, Measure::Mono), &[1]),
            [""]
        );
    }
}
