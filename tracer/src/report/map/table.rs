//! The map as tables. Where the terminal is too narrow for all columns, the least needed go; where
//! it is too narrow for any table, each row becomes some lines.

use std::net::IpAddr;

use compact_str::CompactString;
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::{Style, notes};
use crate::address::Entry;
use crate::map::options::View;
use crate::map::view::classes::Group;
use crate::map::view::{Service, Shown};
use crate::map::{Relation, Uses, direction_name};
use crate::record::{Direction, WallTime};
use crate::report::table::{Cell, Column, Keep, Table, grouped};
use crate::report::text::counted;

pub(super) fn write(shown: &Shown, view: View, style: &Style<'_>) -> String {
    let mut out = String::new();
    match view {
        View::OneToMany => {
            for service in shown.services() {
                heading(&service, shown.has_hosts(), style, &mut out);
                let rows = members(&service, style);
                rows.write(style.width, &mut out);
                out.push('\n');
            }
        }
        View::OneToOne | View::ByClass if shown.relations.is_empty() => {}
        View::ByClass => {
            classes(&shown.classes(), style).write(style.width, &mut out);
            out.push('\n');
        }
        View::OneToOne => {
            relations(shown, style).write(style.width, &mut out);
            out.push('\n');
        }
    }
    notes::write(shown, style, &mut out);
    out
}

/// `10.0.0.5:80 inbound: 2 peers, 6 connections`.
fn heading(service: &Service, has_hosts: bool, style: &Style<'_>, out: &mut String) {
    let host = if has_hosts {
        format!("{} ", service.host)
    } else {
        String::new()
    };
    let users = service.users() as u64;
    let users = match service.direction {
        Direction::Inbound => counted(users, "peer"),
        Direction::Outbound if users == 1 => "1 process".to_owned(),
        Direction::Outbound => format!("{} processes", grouped(users)),
    };
    let text = match service.address {
        None => format!("{host}imported: {users}"),
        Some(address) => {
            let connections = counted(connections(&service.uses), "connection");
            let direction = direction_name(service.direction);
            let class = service.class();
            let class = class.map(|entry| format!(" ({})", entry.class.name()));
            let class = class.unwrap_or_default();
            format!("{host}{address} {direction}{class}: {users}, {connections}")
        }
    };
    paragraph(&text, style, out);
}

fn members(service: &Service, style: &Style<'_>) -> Rows {
    let mut members: Vec<_> = service.members.iter().collect();
    if let Some(top) = style.top {
        members.sort_by_key(|member| std::cmp::Reverse((member.uses.busy(), member.uses.tx)));
        members.truncate(top);
    }
    let more = service.members.len() - members.len();
    let mut fields = Vec::new();
    if service.direction == Direction::Inbound {
        let peers = members.iter().map(|member| peer(member.peer));
        fields.push(Field::text("PEER", 0, peers));
    }
    let processes = members.iter().map(|member| names(&member.processes));
    fields.push(Field::text("PROCESS", 1, processes));
    if service.direction == Direction::Inbound {
        let classes = members.iter().map(|member| class(member.class()));
        fields.push(Field::text("CLASS", 3, classes));
    }
    if members
        .iter()
        .any(|member| member.source != service.members[0].source)
        || service.members[0].source != crate::map::Source::Traced
    {
        let sources = members.iter().map(|member| member.source.name().to_owned());
        fields.push(Field::text("SOURCE", 2, sources));
    }
    counts(members.iter().map(|member| member.uses), style, &mut fields);
    Rows { fields, more }
}

fn relations(shown: &Shown, style: &Style<'_>) -> Rows {
    let mut rows: Vec<_> = shown.relations.iter().collect();
    if let Some(top) = style.top {
        rows.sort_by_key(|(_, uses)| std::cmp::Reverse((uses.busy(), uses.tx)));
        rows.truncate(top);
    }
    let more = shown.relations.len() - rows.len();
    let column = |head, rank, text: &dyn Fn(&Relation) -> String| {
        Field::text(head, rank, rows.iter().map(|(relation, _)| text(relation)))
    };
    let mut fields = Vec::new();
    if shown.has_hosts() {
        fields.push(column("HOST", 0, &|it| it.host.to_string()));
    }
    fields.push(column("DIRECTION", 3, &|it| {
        direction_name(it.direction).to_owned()
    }));
    fields.push(column("SERVICE", 0, &|it| {
        it.service
            .map_or_else(|| "-".to_owned(), |service| service.to_string())
    }));
    fields.push(column("PEER", 0, &|it| peer(it.peer)));
    fields.push(column("PROCESS", 1, &|it| names(it.process.as_slice())));
    fields.push(column("CLASS", 3, &|it| class(it.class())));
    if !shown.is_traced() {
        fields.push(column("SOURCE", 2, &|it| it.source.name().to_owned()));
    }
    counts(rows.iter().map(|(_, uses)| *uses), style, &mut fields);
    Rows { fields, more }
}

fn classes(groups: &[Group], style: &Style<'_>) -> Rows {
    let number = |head, of: fn(&Group) -> usize| Field {
        column: Column::right(head),
        rank: 0,
        cells: groups
            .iter()
            .map(|group| Cell::Number(of(group) as u64))
            .collect(),
    };
    let names = groups.iter().map(|group| group.class.name().to_owned());
    let mut fields = vec![
        Field::text("CLASS", 0, names),
        number("ADDRESSES", |group| group.addresses.len()),
        number("RELATIONS", |group| group.relations),
    ];
    counts(groups.iter().map(|group| group.uses), style, &mut fields);
    Rows { fields, more: 0 }
}

fn peer(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string())
}

fn class(entry: Option<Entry>) -> String {
    entry.map_or("-", |entry| entry.class.name()).to_owned()
}

fn names(names: &[CompactString]) -> String {
    if names.is_empty() {
        return "(unknown)".to_owned();
    }
    names.join(" ")
}

/// With those that are older than the run that saw them.
fn connections(uses: &Uses) -> u64 {
    uses.connections.saturating_add(uses.older)
}

/// The columns of numbers and times; those that are zero everywhere are left out.
fn counts(uses: impl Iterator<Item = Uses> + Clone, style: &Style<'_>, fields: &mut Vec<Field>) {
    let mut number = |head, rank, of: fn(&Uses) -> u64, always: bool| {
        if always || uses.clone().any(|uses| of(&uses) > 0) {
            fields.push(Field {
                column: Column::right(head),
                rank,
                cells: uses.clone().map(|uses| Cell::Number(of(&uses))).collect(),
            });
        }
    };
    number("CONNECTIONS", 0, connections, true);
    number("FAILED", 2, |uses| uses.failures, false);
    number("TX BYTES", 4, |uses| uses.tx, true);
    number("RX BYTES", 4, |uses| uses.rx, true);
    let time = |time: WallTime| short(time, style);
    fields.push(Field::text(
        "FIRST SEEN",
        6,
        uses.clone().map(|uses| time(uses.first_seen)),
    ));
    fields.push(Field::text(
        "LAST SEEN",
        5,
        uses.map(|uses| time(uses.last_seen)),
    ));
}

/// To the minute.
fn short(time: WallTime, style: &Style<'_>) -> String {
    Timestamp::from_nanosecond(time.0.into()).map_or_else(
        |_| time.to_string(),
        |time| {
            let time = time.to_zoned(style.zone.clone());
            time.strftime("%Y-%m-%d %H:%M").to_string()
        },
    )
}

/// A column with its cells. The higher its rank, the sooner it is left out; rank 0 stays.
struct Field {
    column: Column,
    rank: u8,
    cells: Vec<Cell>,
}

impl Field {
    fn text(head: &'static str, rank: u8, cells: impl Iterator<Item = String>) -> Self {
        Self {
            column: Column::left(head),
            rank,
            cells: cells.map(Cell::Text).collect(),
        }
    }
}

struct Rows {
    fields: Vec<Field>,
    /// Rows that are not shown.
    more: usize,
}

impl Rows {
    fn write(mut self, width: usize, out: &mut String) {
        loop {
            let lines = self.lines(width);
            if lines.iter().all(|line| line.width() <= width) {
                out.extend(lines.iter().flat_map(|line| [line.as_str(), "\n"]));
                break;
            }
            let least_needed = self.fields.iter().map(|field| field.rank).max();
            match least_needed {
                Some(rank) if rank > 0 => self.fields.retain(|field| field.rank < rank),
                _ => {
                    self.stack(out);
                    break;
                }
            }
        }
        if self.more > 0 {
            out.extend(["(", &grouped(self.more as u64), " more)\n"]);
        }
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let rows = self.fields.first().map_or(0, |field| field.cells.len());
        let elastic = self
            .fields
            .iter()
            .position(|field| field.column.head == "PROCESS");
        let table = Table {
            columns: self.fields.iter().map(|field| field.column).collect(),
            rows: (0..rows)
                .map(|row| self.fields.iter().map(|it| it.cells[row].clone()).collect())
                .collect(),
            elastic: elastic.map(|index| (index, Keep::Start)),
        };
        table.lines(width, table.fits(width))
    }

    /// Each cell on a line of its own: an address is never cut, the terminal may break it.
    fn stack(&self, out: &mut String) {
        let rows = self.fields.first().map_or(0, |field| field.cells.len());
        for row in 0..rows {
            for (index, field) in self.fields.iter().enumerate() {
                let indent = if index == 0 { "" } else { "  " };
                match &field.cells[row] {
                    Cell::Text(text) => out.extend([indent, text, "\n"]),
                    Cell::Number(number) => {
                        out.extend([indent, &grouped(*number), "x\n"]);
                    }
                }
            }
        }
    }
}

/// Folded between words.
pub(super) fn paragraph(text: &str, style: &Style<'_>, out: &mut String) {
    let options = textwrap::Options::new(style.width)
        .subsequent_indent("  ")
        .break_words(false);
    for line in textwrap::wrap(text, options) {
        out.extend([&*line, "\n"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::view::Filter;
    use crate::map::view::samples::map;
    use crate::report::map::samples::style;

    fn text(view: View, width: usize, top: Option<usize>) -> String {
        let style = Style {
            width,
            top,
            ..style(None)
        };
        write(&Shown::of(map(), &Filter::default()), view, &style)
    }

    #[test]
    fn services_have_a_table_each() {
        let text = text(View::OneToMany, 200, None);
        let expected = "\
10.0.0.5:80 inbound: 2 peers, 6 connections
PEER       PROCESS       CLASS        CONNECTIONS  TX BYTES  RX BYTES  FIRST SEEN        LAST SEEN
9.0.0.1    nginx         global                 1     1,000         1  2026-01-31 12:00  2026-01-31 12:01
10.0.0.10  apache nginx  private-use            5     5,000         5  2026-01-31 12:00  2026-01-31 12:03
";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(
            "10.0.0.9:5432 outbound (private-use): 2 processes, 6 connections\nPROCESS "
        ));
        let end = "total: 5 peer addresses, 7 relations\n\
                   loopback: 2 relations left out; --loopback shows them\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn narrow_terminals_get_fewer_columns_and_then_lines() {
        for width in [20, 30, 40, 60, 80, 100] {
            for view in [View::OneToMany, View::OneToOne] {
                let text = text(view, width, None);
                let wide: Vec<_> = text.lines().filter(|line| line.width() > width).collect();
                assert!(wide.is_empty(), "{width}: {wide:?} in\n{text}");
                for whole in ["9.0.0.1", "10.0.0.10", "2001:db8::a", "10.0.0.9:5432"] {
                    assert!(text.contains(whole), "{width}: no {whole} in\n{text}");
                }
            }
        }
        assert!(text(View::OneToMany, 80, None).contains("LAST SEEN"));
    }

    #[test]
    fn the_busiest_come_first_where_not_all_are_shown() {
        let text = text(View::OneToMany, 200, Some(1));
        assert!(
            text.contains("10.0.0.10") && !text.contains("9.0.0.1 "),
            "{text}"
        );
        assert!(text.contains("(1 more)\n"), "{text}");
    }

    #[test]
    fn an_empty_map_says_so() {
        for view in [View::OneToMany, View::OneToOne] {
            let text = write(&Shown::default(), view, &style(None));
            assert_eq!(text, "total: 0 peer addresses, 0 relations\n");
        }
    }
}
