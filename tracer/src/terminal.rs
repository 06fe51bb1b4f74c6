//! What a stream can show.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// Columns for a stream that is not a terminal: nothing needs to be shortened for a file.
pub const UNLIMITED: usize = 200;

/// Columns of the stream.
pub fn width(stream: &(impl AsFd + IsTerminal)) -> usize {
    if !stream.is_terminal() {
        return UNLIMITED;
    }
    tcgetwinsize(stream)
        .map_or(80, |size| usize::from(size.ws_col))
        .max(1)
}

/// Whether colour is wanted: on a terminal that knows it, unless `NO_COLOR` is set.
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}
