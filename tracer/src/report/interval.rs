//! An interval as text: its start and end, and a table for each thing that was asked for.

pub mod json;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::table::{Cell, Column, Keep, Table};
use super::text::{BOLD, grouped, key, paint, rate, write_tables};
use super::wire;
use crate::interval::dimension::Dimension;
use crate::interval::table::{Key, Label};
use crate::interval::{Interval, Row, Rows};
use crate::options::values::DEFAULT_TOP;
use crate::record::{Direction, WallTime};
use crate::summary::Counts;

/// How the text shall look.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// Columns of a line.
    pub width: usize,
    /// Heads and totals bold.
    pub colour: bool,
    /// Zone of the times.
    pub zone: &'a TimeZone,
}

/// Appends `interval` to `out`.
pub fn write(interval: &Interval, style: &Style<'_>, out: &mut String) {
    paint(&heading(interval, style.zone), BOLD, style.colour, out);
    if interval.total == Counts::default() {
        out.push_str("no connections seen\n\n");
        return;
    }
    let tables = fitting(interval, style.width);
    write_tables(&tables, style.width, style.colour, out);
}

/// When it was, by a clock on the wall here, and how long it took.
fn heading(interval: &Interval, zone: &TimeZone) -> String {
    let local = |time: WallTime| {
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
        zone.to_datetime(time)
    };
    let (start, end) = (local(interval.start), local(interval.end));
    let clock = |time: jiff::civil::DateTime| {
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        format!(
            "{hour:02}:{minute:02}:{second:02}.{:03}",
            time.millisecond()
        )
    };
    let day = if start.date() == end.date() {
        String::new()
    } else {
        format!("{} ", end.date())
    };
    let duration_ms = interval.duration_ns / 1_000_000;
    format!(
        "{} {} to {day}{} ({}.{:03} s)",
        start.date(),
        clock(start),
        clock(end),
        duration_ms / 1000,
        duration_ms % 1000
    )
}

/// The tables, without connections a second if those do not fit.
fn fitting(interval: &Interval, width: usize) -> Vec<Table> {
    let all = Builder::new(interval, true).tables();
    if all.iter().all(|table| table.fits(width)) {
        return all;
    }
    Builder::new(interval, false).tables()
}

struct Builder<'a> {
    interval: &'a Interval,
    top: usize,
    /// With connections a second.
    rate: bool,
    /// Rows are of more than one network namespace,
    netns: bool,
    /// or host.
    hosts: bool,
}

impl<'a> Builder<'a> {
    fn new(interval: &'a Interval, rate: bool) -> Self {
        let rows = || interval.tables.iter().flat_map(|table| &table.rows);
        let netns = rows().filter_map(|row| match row.key {
            Key::Peer { netns, .. } | Key::Port { netns, .. } => Some((&row.host, netns)),
            _ => None,
        });
        let netns: HashSet<_> = netns.collect();
        let hosts: HashSet<_> = rows().map(|row| &row.host).collect();
        Self {
            interval,
            top: interval.top.unwrap_or(DEFAULT_TOP),
            rate,
            netns: netns.len() > hosts.len(),
            hosts: rows().any(|row| row.host.is_some()),
        }
    }

    fn tables(&self) -> Vec<Table> {
        let tables = self.interval.tables.iter();
        tables.map(|table| self.table(table)).collect()
    }

    fn table(&self, table: &Rows) -> Table {
        let (mut columns, elastic) = heads(table.by);
        if self.hosts {
            columns.push(Column::left("HOST"));
        }
        let has_netns = self.netns && matches!(table.by, Dimension::Peer | Dimension::Port);
        if has_netns {
            columns.push(Column::right("NETNS"));
        }
        let labels = columns.len();
        let named = |text: String| {
            let mut cells = vec![Cell::Text(String::new()); labels];
            cells[0] = Cell::Text(text);
            cells
        };
        let row = |(mut cells, counts): (Vec<Cell>, &Counts)| {
            cells.extend(self.cells(counts));
            cells
        };
        let shown = table.rows.iter().take(self.top);
        let mut rows: Vec<_> = shown
            .map(|kept| row((self.labels(kept, table.by, has_netns), &kept.counts)))
            .collect();
        if let Some(more @ [_, ..]) = table.rows.get(self.top..) {
            let name = format!("({} more)", grouped(more.len() as u64));
            rows.push(row((named(name), &sum(more))));
        }
        if let Some(other) = &table.other {
            rows.push(row((named("(other)".to_owned()), &other.counts)));
        }
        rows.push(row((named("total".to_owned()), &self.interval.total)));
        let counts = ["ACCEPTS", "CONNECTS", "FAILED", "TX BYTES", "RX BYTES"];
        columns.extend(counts.map(Column::right));
        if self.interval.has_wire {
            columns.extend(wire::COLUMNS);
        }
        columns.extend(self.rate.then_some(Column::right("CONN/S")));
        columns.extend(["TX/S", "RX/S"].map(Column::right));
        Table {
            columns,
            rows,
            elastic,
        }
    }

    fn labels(&self, row: &Row, by: Dimension, has_netns: bool) -> Vec<Cell> {
        let mut cells = vec![key(name(row), row.at_least)];
        if heads(by).0.len() > 1 {
            cells.push(Cell::Text(more(row)));
        }
        if self.hosts {
            let host = row.host.as_deref().unwrap_or("-");
            cells.push(Cell::Text(host.to_owned()));
        }
        if has_netns {
            cells.push(Cell::Text(match row.key {
                Key::Peer { netns, .. } | Key::Port { netns, .. } => netns.to_string(),
                _ => "-".to_owned(),
            }));
        }
        cells
    }

    fn cells(&self, counts: &Counts) -> impl Iterator<Item = Cell> {
        let Counts {
            accepts,
            connects,
            failures,
            tx,
            rx,
            ..
        } = *counts;
        let numbers = [accepts, connects, failures, tx, rx].map(Cell::Number);
        let wire = self.interval.has_wire.then(|| wire::cells(counts));
        let wire = wire.into_iter().flatten();
        let duration_ns = self.interval.duration_ns;
        let connections = self.rate.then(|| {
            let rate = self.interval.rate(counts.connections());
            Cell::Text(rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")))
        });
        let bytes = [tx, rx].map(|bytes| Cell::Text(rate(bytes, duration_ns)));
        let rates = connections.into_iter().chain(bytes);
        numbers.into_iter().chain(wire).chain(rates)
    }
}

/// The columns of labels, and which of them may be cut.
fn heads(by: Dimension) -> (Vec<Column>, Option<(usize, Keep)>) {
    let one = |column| vec![column];
    match by {
        Dimension::Peer => (one(Column::left("PEER")), Some((0, Keep::BothEnds))),
        Dimension::Port => (one(Column::right("PORT")), None),
        Dimension::Process => (
            vec![Column::right("PID"), Column::left("NAME")],
            Some((1, Keep::Start)),
        ),
        Dimension::User => (
            vec![Column::right("UID"), Column::left("USER")],
            Some((1, Keep::Start)),
        ),
        Dimension::Country => (one(Column::left("COUNTRY")), Some((0, Keep::Start))),
        Dimension::Asn => (
            vec![Column::right("ASN"), Column::left("ORGANIZATION")],
            Some((1, Keep::Start)),
        ),
        Dimension::Class => (one(Column::left("CLASS")), None),
        Dimension::Container => (
            vec![Column::left("CONTAINER"), Column::left("RUNTIME")],
            Some((0, Keep::Start)),
        ),
        Dimension::Netns => (one(Column::right("NETNS")), None),
    }
}

/// What the row is about.
fn name(row: &Row) -> String {
    match &row.key {
        Key::Unknown => "(unknown)".to_owned(),
        Key::Peer { ip: Some(ip), .. } => ip.to_string(),
        Key::Peer { ip: None, .. } => "(not kept)".to_owned(),
        Key::Port {
            direction, port, ..
        } => match direction {
            Direction::Inbound => port.to_string(),
            Direction::Outbound => format!("-> {port}"),
        },
        Key::Process { pid, .. } => pid.to_string(),
        Key::User(uid) => uid.to_string(),
        Key::Asn(asn) => asn.to_string(),
        Key::Class(class) => class.name().to_owned(),
        Key::Cgroup(id) => format!("cgroup {id}"),
        Key::Netns(netns) => netns.to_string(),
        Key::Country(_) | Key::Container(_) => match &row.label {
            Label::Text(text) => text.to_string(),
            Label::Container(container) => container.id.to_string(),
            Label::None | Label::Process { .. } => "(unknown)".to_owned(),
        },
    }
}

/// What else is known of that.
fn more(row: &Row) -> String {
    match &row.label {
        Label::Text(text) => text.to_string(),
        Label::Process { name, .. } => name.to_string(),
        Label::Container(container) => container.runtime.unwrap_or_default().to_owned(),
        Label::None => String::new(),
    }
}

fn sum(rows: &[Row]) -> Counts {
    let mut sum = Counts::default();
    for row in rows {
        sum += row.counts;
    }
    sum
}
