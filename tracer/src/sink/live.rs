//! One aligned line a record, for people.

mod cells;
mod columns;
pub mod time;

use std::fmt::Write;

use bytes::BytesMut;
use cells::{
    arrow, label, shown_process, write_endpoint, write_if_any, write_known, write_milliseconds,
    write_note,
};
use columns::{Column, Columns};
use jiff::tz::TimeZone;
use time::{Clock, Measure, TimeStyle};

use super::Format;
use crate::interval::Interval;
use crate::record::{EventKind, Record};
use crate::report;

/// What [`Live`] shows and how.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Failed attempts in red, closes dim.
    pub colour: bool,
    /// Also show `traffic` and `io` records.
    pub traffic: bool,
    /// TIME to the millisecond; without, a line is four columns shorter.
    pub milliseconds: bool,
    /// Zone of the TIME column.
    pub zone: TimeZone,
    /// What the TIME column shows.
    pub time: TimeStyle,
    /// By which clock times relative to each other are.
    pub measure: Measure,
    /// Columns of a line of a table.
    pub width: usize,
}

/// Whether a record of this kind is shown when nobody asked for more: what a reader would miss, and
/// only once a connection's step.
pub const fn shown_live(event: EventKind) -> bool {
    match event {
        EventKind::Established
        | EventKind::Accept
        | EventKind::Failed
        | EventKind::Close
        | EventKind::OpenAtExit => true,
        EventKind::Open | EventKind::Ended | EventKind::Traffic | EventKind::Io => false,
    }
}

/// Live lines. A step of an IPv4 connection fits 80 columns; its close, which has the byte counts,
/// does when addresses and numbers are short.
#[derive(Debug)]
pub struct Live {
    options: LiveOptions,
    columns: Columns,
    clock: Clock,
    cell: String,
    /// Lines came since the last table.
    has_lines: bool,
}

impl Live {
    /// Live lines as `options` say.
    pub fn new(options: LiveOptions) -> Self {
        let clock = Clock::new(options.time, options.milliseconds, options.measure);
        Self {
            columns: Columns {
                time: clock.column(),
                ..Columns::START
            },
            clock,
            options,
            cell: String::new(),
            has_lines: false,
        }
    }

    fn shows(&self, event: EventKind) -> bool {
        let asked = self.options.traffic && matches!(event, EventKind::Traffic | EventKind::Io);
        asked || shown_live(event)
    }

    fn cells(&mut self, record: &Record, out: &mut BytesMut) {
        let columns = &mut self.columns;
        let mut row = Row {
            cell: &mut self.cell,
            out,
        };
        if let Some(column) = &mut columns.time {
            row.put(column, |cell| {
                self.clock.write(record, &self.options.zone, cell)
            });
        }
        row.put(&mut columns.event, |cell| {
            cell.write_str(label(record.event))
        });
        let (pid, name) = shown_process(record).unzip();
        row.put(&mut columns.pid, |cell| write_known(pid, cell));
        row.put(&mut columns.name, |cell| write_known(name, cell));
        row.put(&mut columns.local, |cell| {
            write_endpoint(&record.local, cell)
        });
        row.put(&mut columns.arrow, |cell| {
            cell.write_str(arrow(record.direction))
        });
        row.put(&mut columns.remote, |cell| {
            write_endpoint(&record.remote, cell)
        });
        let (tx, rx) = record
            .bytes
            .as_ref()
            .map(|bytes| (bytes.tx, bytes.rx))
            .unzip();
        row.put(&mut columns.tx, |cell| write_if_any(tx, cell));
        row.put(&mut columns.rx, |cell| write_if_any(rx, cell));
        let took = record.duration_ns.or(record.latency_ns);
        row.put(&mut columns.ms, |cell| {
            took.map_or(Ok(()), |ns| write_milliseconds(ns, cell))
        });
        row.put(&mut columns.note, |cell| write_note(record, cell));
    }
}

struct Row<'a> {
    cell: &'a mut String,
    out: &'a mut BytesMut,
}

impl Row<'_> {
    fn put(&mut self, column: &mut Column, write: impl FnOnce(&mut String) -> std::fmt::Result) {
        self.cell.clear();
        // Writing to a `String` cannot fail, and a cell must not go missing from the line.
        let _ = write(self.cell);
        column.put(self.cell, self.out);
    }
}

impl Format for Live {
    fn header(&self, out: &mut BytesMut) {
        for mut column in self.columns.time.into_iter().chain(self.columns.rest()) {
            column.put(column.head, out);
        }
        end_line(out);
    }

    fn record(&mut self, record: &Record, out: &mut BytesMut) -> bool {
        if !self.shows(record.event) {
            return false;
        }
        self.has_lines = true;
        let colour = match record.event {
            EventKind::Failed => "\x1b[31m",
            EventKind::Close => "\x1b[2m",
            _ => "",
        };
        if self.options.colour && !colour.is_empty() {
            out.extend_from_slice(colour.as_bytes());
            self.cells(record, out);
            trim(out);
            out.extend_from_slice(b"\x1b[0m");
        } else {
            self.cells(record, out);
        }
        end_line(out);
        true
    }

    fn begin(&mut self, mono_ns: u64) {
        self.clock.begin(mono_ns);
    }

    fn interval(&mut self, interval: &Interval, _sequence: &mut u64, out: &mut BytesMut) {
        let mut text = String::new();
        if std::mem::take(&mut self.has_lines) {
            text.push('\n');
        }
        let LiveOptions {
            width,
            colour,
            zone,
            ..
        } = &self.options;
        let style = report::interval::Style {
            width: *width,
            colour: *colour,
            zone,
        };
        report::interval::write(interval, &style, &mut text);
        out.extend_from_slice(text.as_bytes());
    }
}

fn trim(out: &mut BytesMut) {
    out.truncate(out.trim_ascii_end().len());
}

fn end_line(out: &mut BytesMut) {
    trim(out);
    out.extend_from_slice(b"\n");
}

#[cfg(test)]
mod tests;
