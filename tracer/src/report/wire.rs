//! What was on the wire, in the tables.

use super::table::{Cell, Column};
use crate::summary::Counts;

/// The columns; those with `~` are an estimate.
pub(super) const COLUMNS: [Column; 4] = [
    Column::right("SEGMENTS OUT"),
    Column::right("SEGMENTS IN"),
    Column::right("~WIRE BYTES OUT"),
    Column::right("~WIRE BYTES IN"),
];

/// What they mean.
pub(super) const SENTENCE: &str = "wire: segments as the kernel counts them for each socket, at its \
    owner; wire bytes are an estimate from them: payload, what was sent again included, with TCP and \
    IP headers, without those of the device";

/// A row's cells.
pub(super) fn cells(counts: &Counts) -> [Cell; 4] {
    let wire = counts.wire.unwrap_or_default();
    [
        wire.segments_out,
        wire.segments_in,
        wire.wire_bytes_out,
        wire.wire_bytes_in,
    ]
    .map(Cell::Number)
}
