//! Lines and files that cannot be read: the first ones by name, all of them by number.

use std::io;

use super::compressed::ends_early;
use super::line::LineError;
use super::lines::MAX_LINE;
use crate::names::tidy;
use crate::report::counted;
use crate::say::say;
use crate::summary::Replayed;

/// Lines that are named; the others are counted.
const NAMED: u64 = 5;
/// Characters of a reason at most: it may quote the line.
const LONGEST: usize = 200;

/// Counts what is wrong.
#[derive(Debug, Default)]
pub struct Faults {
    lines: u64,
}

impl Faults {
    /// A line whose end is missing.
    pub fn truncated(&mut self, name: &str, number: u64, replayed: &mut Replayed) {
        replayed.truncated += 1;
        self.line(name, number, || "cut short".to_owned());
    }

    /// A line that is no record.
    pub fn foreign(&mut self, name: &str, number: u64, error: &LineError, replayed: &mut Replayed) {
        replayed.foreign += 1;
        self.line(name, number, || reason(error));
    }

    /// A line that was not even looked at.
    pub fn too_long(&mut self, name: &str, number: u64, replayed: &mut Replayed) {
        replayed.foreign += 1;
        let reason = || format!("longer than {MAX_LINE} bytes, which no record is");
        self.line(name, number, reason);
    }

    fn line(&mut self, name: &str, number: u64, reason: impl FnOnce() -> String) {
        self.lines += 1;
        if self.lines <= NAMED {
            say(&format!(
                "note: {name} line {number}: {}; left out",
                reason()
            ));
        }
    }

    /// A file that cannot be read to its end.
    pub fn damaged(&mut self, name: &str, number: u64, error: &io::Error, replayed: &mut Replayed) {
        replayed.damaged_files += 1;
        let what = if ends_early(error) {
            "ends early".to_owned()
        } else {
            format!("is damaged ({})", printable(&error.to_string()))
        };
        say(&format!(
            "note: {name} {what} after line {number}; what came before counts"
        ));
    }

    /// Says how many lines were not named.
    pub fn say_more(&self) {
        if let Some(more) = self.lines.checked_sub(NAMED + 1) {
            let more = counted(more + 1, "more line");
            say(&format!("note: {more} left out, cut short or no record"));
        }
    }
}

fn reason(error: &LineError) -> String {
    // To serde_json every line is line 1.
    printable(
        &error
            .to_string()
            .replace(" at line 1 column ", " at column "),
    )
}

fn printable(text: &str) -> String {
    let text = tidy(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::hosts::Hosts;
    use crate::replay::line::parse;

    #[test]
    fn a_reason_is_short_and_harmless_whatever_it_quotes() {
        let error = |line: &[u8]| reason(&parse(line, &mut Hosts::default()).unwrap_err());
        assert_eq!(error(b"x"), "not a record (no JSON object)");
        let hostile = format!(r#"{{"v":1,"event":"\u001b[2J{}"}}"#, "é".repeat(10_000));
        let reason = error(hostile.as_bytes());
        assert!(
            reason.contains(r"\x1b[2J") && reason.ends_with('…'),
            "{reason}"
        );
        assert_eq!(reason.chars().count(), LONGEST + 1);
    }
}
