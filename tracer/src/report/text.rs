//! The summary as text: a table by port, by process and by peer, each adding up to the grand total,
//! then what is missing.

use std::collections::HashSet;
use std::sync::Arc;

use bytesize::ByteSize;

pub(super) use super::table::grouped;
use super::table::{Cell, Column, Keep, Table};
use crate::bpf::programs::Accounting;
use crate::record::Direction;
use crate::summary::{Counts, Other, Summary, Traced};

/// From this width on there may be columns of rates.
const RATES_FROM: usize = 100;

const YELLOW: &str = "\x1b[33m";

/// How the text shall look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of a line.
    pub width: usize,
    /// Heads and totals bold, losses yellow.
    pub colour: bool,
    /// Rows a table shows; the rest is one row.
    pub top: usize,
}

/// Appends `summary` to `out`.
pub fn write(summary: &Summary, style: &Style, out: &mut String) {
    let tables =
        if summary.ports.is_empty() && summary.processes.is_empty() && summary.peers.is_empty() {
            out.push_str("no connections seen\n\n");
            Vec::new()
        } else {
            fitting(summary, style)
        };
    write_tables(&tables, style.width, style.colour, out);
    let peers = summary.peers.iter().take(style.top);
    let known = peers.filter_map(|row| row.ip.zip(row.known.as_deref()));
    let lines = super::peers::lines(known, style.width);
    for (index, line) in lines.iter().enumerate() {
        paint(line, BOLD, style.colour && index == 0, out);
    }
    out.push_str(if lines.is_empty() { "" } else { "\n" });
    write_notes(summary, style, out);
}

/// All three tables, with rates if they fit all three.
fn fitting(summary: &Summary, style: &Style) -> Vec<Table> {
    if style.width >= RATES_FROM && summary.traced.is_some() {
        let rated = Builder::new(summary, style.top, true).tables();
        if rated.iter().all(|table| table.fits(style.width)) {
            return rated;
        }
    }
    Builder::new(summary, style.top, false).tables()
}

struct Builder<'a> {
    summary: &'a Summary,
    top: usize,
    rates: bool,
    /// More than one network namespace of a host was seen.
    netns: bool,
    /// More than one host was.
    hosts: bool,
}

impl<'a> Builder<'a> {
    fn new(summary: &'a Summary, top: usize, rates: bool) -> Self {
        let ports = summary
            .ports
            .iter()
            .map(|row| (row.host.as_deref(), row.netns));
        let peers = summary
            .peers
            .iter()
            .map(|row| (row.host.as_deref(), row.netns));
        let seen: HashSet<_> = ports.chain(peers).collect();
        let hosts: HashSet<_> = seen.iter().map(|(host, _)| *host).collect();
        let processes = summary.processes.iter();
        Self {
            summary,
            top,
            rates,
            netns: seen.len() > hosts.len().max(1),
            // Also where the other hosts' rows of ports and peers are among the other ones.
            hosts: hosts.iter().any(Option::is_some)
                || processes.clone().any(|row| row.host.is_some()),
        }
    }

    /// Whether some record told what was on the wire.
    fn has_wire(&self) -> bool {
        self.summary.total.wire.is_some()
    }

    fn tables(&self) -> Vec<Table> {
        let ports = self.summary.ports.iter().map(|row| {
            let port = match row.direction {
                Direction::Inbound => row.port.to_string(),
                Direction::Outbound => format!("-> {}", row.port),
            };
            (
                self.with_place(key(port, row.at_least), row.host.as_ref(), row.netns),
                row.counts,
            )
        });
        let processes = self.summary.processes.iter().map(|row| {
            let pid = row
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let name = row.name.as_deref().unwrap_or("(unknown)").to_owned();
            let mut cells = vec![key(pid, row.at_least), Cell::Text(name)];
            cells.extend(self.host(row.host.as_ref()));
            (cells, row.counts)
        });
        let peers = self.summary.peers.iter().map(|row| {
            let ip = row
                .ip
                .map_or_else(|| "(not kept)".to_owned(), |ip| ip.to_string());
            (
                self.with_place(key(ip, row.at_least), row.host.as_ref(), row.netns),
                row.counts,
            )
        });
        let host = self.hosts.then_some(Column::left("HOST"));
        let netns = self.netns.then_some(Column::right("NETNS"));
        let place = || host.into_iter().chain(netns);
        let port = std::iter::once(Column::right("PORT")).chain(place());
        let port = port.collect();
        let process = [Column::right("PID"), Column::left("NAME")];
        let process = process.into_iter().chain(host).collect();
        let peer = std::iter::once(Column::left("PEER")).chain(place());
        let peer = peer.collect();
        let other = &self.summary.other;
        vec![
            self.table(port, None, ports, other.ports.as_ref()),
            self.table(
                process,
                Some((1, Keep::Start)),
                processes,
                other.processes.as_ref(),
            ),
            self.table(peer, Some((0, Keep::BothEnds)), peers, other.peers.as_ref()),
        ]
    }

    /// What a row is about, and where that is.
    fn with_place(&self, key: Cell, host: Option<&Arc<str>>, netns: u32) -> Vec<Cell> {
        let netns = self.netns.then(|| Cell::Text(netns.to_string()));
        let place = self.host(host).into_iter().chain(netns);
        std::iter::once(key).chain(place).collect()
    }

    fn host(&self, host: Option<&Arc<str>>) -> Option<Cell> {
        let name = || host.map_or_else(|| "-".to_owned(), ToString::to_string);
        self.hosts.then(|| Cell::Text(name()))
    }

    /// `labels` are the columns before the counts.
    fn table(
        &self,
        labels: Vec<Column>,
        elastic: Option<(usize, Keep)>,
        mut rows: impl ExactSizeIterator<Item = (Vec<Cell>, Counts)>,
        other: Option<&Other>,
    ) -> Table {
        let label = |text: String| {
            let mut cells = vec![Cell::Text(String::new()); labels.len()];
            cells[0] = Cell::Text(text);
            cells
        };
        let row = |(mut cells, counts): (Vec<Cell>, Counts)| {
            cells.extend(self.cells(&counts));
            cells
        };
        let mut shown: Vec<_> = rows.by_ref().take(self.top).map(row).collect();
        let more = rows.len();
        if more > 0 {
            let mut folded = Counts::default();
            rows.for_each(|(_, counts)| folded += counts);
            shown.push(row((
                label(format!("({} more)", grouped(more as u64))),
                folded,
            )));
        }
        if let Some(other) = other {
            shown.push(row((label("(other)".to_owned()), other.counts)));
        }
        shown.push(row((label("total".to_owned()), self.summary.total)));
        let mut columns = labels;
        columns.extend(
            [
                "ACCEPTS", "CONNECTS", "FAILED", "OPEN", "TX BYTES", "RX BYTES",
            ]
            .map(Column::right),
        );
        if self.has_wire() {
            columns.extend(super::wire::COLUMNS);
        }
        if self.rates {
            columns.extend(["TX/S", "RX/S"].map(Column::right));
        }
        Table {
            columns,
            rows: shown,
            elastic,
        }
    }

    fn cells(&self, counts: &Counts) -> impl Iterator<Item = Cell> {
        let Counts {
            accepts,
            connects,
            failures,
            open,
            tx,
            rx,
            ..
        } = *counts;
        let numbers = [accepts, connects, failures, open, tx, rx].map(Cell::Number);
        let traced = self.summary.traced.as_ref();
        let duration = traced.map_or(0, |traced| traced.duration_ns);
        let rates = self
            .rates
            .then(|| [tx, rx].map(|bytes| Cell::Text(rate(bytes, duration))));
        let wire = self.has_wire().then(|| super::wire::cells(counts));
        let wire = wire.into_iter().flatten();
        numbers
            .into_iter()
            .chain(wire)
            .chain(rates.into_iter().flatten())
    }
}

/// What a row is about, marked if its counts may lack something.
pub(super) fn key(text: String, at_least: bool) -> Cell {
    Cell::Text(if at_least { text + "*" } else { text })
}

/// Bytes a second, rounded for people; `-` for a run without duration.
pub(super) fn rate(bytes: u64, duration_ns: u64) -> String {
    let per_second = (u128::from(bytes) * 1_000_000_000).checked_div(u128::from(duration_ns));
    per_second.map_or_else(
        || "-".to_owned(),
        |rate| {
            format!(
                "{}/s",
                ByteSize::b(u64::try_from(rate).unwrap_or(u64::MAX))
                    .display()
                    .si()
            )
        },
    )
}

/// `1 time`, `1,234 times`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

fn write_notes(summary: &Summary, style: &Style, out: &mut String) {
    let older = summary.total.pre_existing;
    if older > 0 {
        let connections = counted(older, "connection");
        note(
            &format!("older: {connections} from before this run, with their bytes since its start"),
            "",
            style,
            out,
        );
    }
    let unaccepted = summary.total.unaccepted;
    if unaccepted > 0 {
        let connections = counted(unaccepted, "inbound connection");
        note(
            &format!("unaccepted: {connections} that no process took"),
            "",
            style,
            out,
        );
    }
    let (tx, rx) = (summary.unattributed_tx, summary.unattributed_rx);
    if tx > 0 || rx > 0 {
        let (tx, rx) = (counted(tx, "byte"), grouped(rx));
        let text =
            format!("unattributed: {tx} sent and {rx} received by processes that are not known");
        note(&text, "", style, out);
    }
    if summary.total.wire.is_some() {
        note(super::wire::SENTENCE, "", style, out);
    }
    for text in super::other::sentences(&summary.other) {
        note(&format!("other: {text}"), "", style, out);
    }
    if let Some(loss) = &summary.loss {
        let losses = super::loss::sentences(loss);
        for loss in &losses {
            note(&format!("loss: {loss}"), YELLOW, style, out);
        }
        if losses.is_empty() {
            note("loss: none", "", style, out);
        }
    }
    if let Some(kernel) = &summary.kernel {
        for (text, differs) in super::kernel::sentences(kernel) {
            let colour = if differs { YELLOW } else { "" };
            note(&format!("kernel: {text}"), colour, style, out);
        }
    }
    let late = summary.loss.map_or(0, |loss| loss.late_news);
    if late > 0 {
        let late = counted(late, "event");
        let text = format!(
            "late: {late} found the event ring full and came later, nothing is missing; a larger \
             --ring-size avoids it"
        );
        note(&text, "", style, out);
    }
    if let Some(traced) = &summary.traced {
        write_traced(traced, style, out);
    }
    if let Some(sampled) = &summary.sampled {
        for (text, is_lossy) in super::sampled::sentences(sampled) {
            note(&text, if is_lossy { YELLOW } else { "" }, style, out);
        }
    }
    if let Some(replay) = &summary.replay {
        for (text, is_short) in super::replay::sentences(replay) {
            note(&text, if is_short { YELLOW } else { "" }, style, out);
        }
    }
}

fn write_traced(traced: &Traced, style: &Style, out: &mut String) {
    let accounting = if traced.accounting == Accounting::Process.name() {
        String::new()
    } else {
        format!(", bytes by {}", traced.accounting)
    };
    note(
        &format!("backend: {}{accounting}", traced.backend),
        "",
        style,
        out,
    );
    let milliseconds = i64::try_from(traced.duration_ns / 1_000_000).unwrap_or(i64::MAX);
    let duration = jiff::SignedDuration::from_millis(milliseconds);
    note(&format!("duration: {duration:#}"), "", style, out);
}

/// What heads and totals are painted in.
pub(super) const BOLD: &str = "\x1b[1m";

/// Appends tables, all with the same gaps, heads and totals bold if `colour`.
pub(super) fn write_tables(tables: &[Table], width: usize, colour: bool, out: &mut String) {
    let roomy = tables.iter().all(|table| table.fits(width));
    for table in tables {
        let lines = table.lines(width, roomy);
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            paint(line, BOLD, colour && (index == 0 || index == last), out);
        }
        out.push('\n');
    }
}

/// One paragraph, folded between words.
fn note(text: &str, colour: &str, style: &Style, out: &mut String) {
    let options = textwrap::Options::new(style.width)
        .subsequent_indent("  ")
        .break_words(false);
    for line in textwrap::wrap(text, options) {
        paint(&line, colour, style.colour && !colour.is_empty(), out);
    }
}

pub(super) fn paint(line: &str, colour: &str, on: bool, out: &mut String) {
    if on {
        out.extend([colour, line, "\x1b[0m\n"]);
    } else {
        out.extend([line, "\n"]);
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
