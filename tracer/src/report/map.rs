//! The access map in each of its formats.

mod csv;
mod graph;
mod json;
mod list;
mod notes;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::peers;
use crate::map::options::{Format, Shape};
use crate::map::view::Shown;
use crate::record::{Peer, WallTime};

/// What is known of addresses on the other side; of the others it is nothing.
pub type Known = BTreeMap<IpAddr, Arc<Peer>>;

/// What a map is written for.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// When.
    pub time: WallTime,
    /// In which zone tables give times.
    pub zone: &'a TimeZone,
    /// Columns of a line of a table.
    pub width: usize,
    /// Rows a service in a table; `None` = all.
    pub top: Option<usize>,
    /// What is told of peers beyond their addresses; `None` = nobody asked for it.
    pub known: Option<&'a Known>,
}

impl<'a> Style<'a> {
    /// What is told of an address on the other side.
    fn peer(&self, ip: Option<IpAddr>) -> Option<&'a Peer> {
        self.known?.get(&ip?).map(|peer| &**peer)
    }
}

/// The map as text; whole lines.
pub fn write(shown: &Shown, shape: Shape, style: &Style<'_>) -> String {
    match shape.format {
        Format::Table => table::write(shown, shape.view, style) + &below(style),
        Format::Json => json::write(shown, shape.view, style),
        Format::Csv => csv::write(shown, shape.view, style),
        Format::Dot => graph::dot(shown, style),
        Format::Mermaid => graph::mermaid(shown, style),
        Format::List => list::lines(shown),
        Format::IpJson => list::json(shown),
    }
}

/// What is told of peers, below tables.
fn below(style: &Style<'_>) -> String {
    let known = style.known.into_iter().flatten();
    let known = known.map(|(ip, peer)| (*ip, &**peer));
    let mut out = String::new();
    for (index, line) in peers::lines(known, style.width).iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        out.extend([gap, line, "\n"]);
    }
    out
}

/// The line before each report of a file that they are appended to; empty where the report itself
/// has its time.
pub fn heading(format: Format, time: WallTime) -> String {
    let comment = match format {
        Format::Json | Format::IpJson => return String::new(),
        Format::Table | Format::Csv | Format::List => "#",
        Format::Dot => "//",
        Format::Mermaid => "%%",
    };
    format!("{comment} {time}\n")
}

#[cfg(test)]
mod samples;
