//! The access map in each of its formats.

mod csv;
mod graph;
mod json;
mod list;
mod notes;
mod table;

use jiff::tz::TimeZone;

use crate::map::options::{Format, Shape};
use crate::map::view::Shown;
use crate::record::WallTime;

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
}

/// The map as text; whole lines.
pub fn write(shown: &Shown, shape: Shape, style: &Style<'_>) -> String {
    match shape.format {
        Format::Table => table::write(shown, shape.view, style),
        Format::Json => json::write(shown, shape.view, style.time),
        Format::Csv => csv::write(shown, shape.view),
        Format::Dot => graph::dot(shown),
        Format::Mermaid => graph::mermaid(shown),
        Format::List => list::lines(shown),
        Format::IpJson => list::json(shown),
    }
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
