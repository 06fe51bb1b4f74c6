//! Talk for the person at the terminal: one line on stderr. stdout is for data.

use std::io::Write;

/// Says one line. A closed stderr is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
