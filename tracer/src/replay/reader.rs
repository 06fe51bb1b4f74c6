//! Files to records: reads line by line, leaves out what is no record, was read before or is not
//! asked for, and counts each.

use std::io::{self, BufRead};

use super::faults::Faults;
use super::hosts::Hosts;
use super::line::{self, LineError};
use super::lines::{self, Next};
use super::repeats::Repeats;
use super::select::Selector;
use crate::record::Record;
use crate::summary::Replayed;

/// Takes records as they are read, each with its line. To drive something else than the tables by
/// recorded files, implement this.
pub trait Take {
    /// What comes now is of another file.
    fn begin_file(&mut self) {}

    /// Takes one; an error ends the replay.
    fn take(&mut self, record: &Record, line: &[u8]) -> io::Result<()>;

    /// Whether no more are wanted.
    fn is_done(&self) -> bool {
        false
    }
}

/// How a file ended.
#[derive(Debug)]
pub enum FileEnd {
    /// It was read, as far as that was possible.
    Read,
    /// Left out: it begins with the same record as this earlier one.
    Repeated(usize),
    /// The kernel could not read on.
    Failed(io::Error),
}

/// What is known across files.
#[derive(Debug)]
pub struct Reader {
    selector: Selector,
    hosts: Hosts,
    repeats: Repeats,
    faults: Faults,
    /// Counts so far.
    pub replayed: Replayed,
    line: Vec<u8>,
}

impl Reader {
    /// Keeps what `selector` says.
    pub fn new(selector: Selector) -> Self {
        Self {
            selector,
            hosts: Hosts::default(),
            repeats: Repeats::default(),
            faults: Faults::default(),
            replayed: Replayed::default(),
            line: Vec::new(),
        }
    }

    /// Reads file number `index`. An error is that of `out`.
    pub fn read(
        &mut self,
        index: usize,
        name: &str,
        text: &mut dyn BufRead,
        out: &mut impl Take,
    ) -> io::Result<FileEnd> {
        out.begin_file();
        let mut line = std::mem::take(&mut self.line);
        let mut file = InFile {
            index,
            name,
            number: 0,
            begun: false,
        };
        let end = self.lines(&mut file, text, &mut line, out);
        self.line = line;
        end
    }

    fn lines(
        &mut self,
        file: &mut InFile<'_>,
        mut text: &mut dyn BufRead,
        line: &mut Vec<u8>,
        out: &mut impl Take,
    ) -> io::Result<FileEnd> {
        let mut damage = None;
        while damage.is_none() && !out.is_done() {
            let next = lines::next(&mut text, line).unwrap_or_else(|error| {
                damage = Some(error);
                if line.is_empty() {
                    Next::End
                } else {
                    Next::Unended
                }
            });
            match next {
                Next::End => break,
                Next::TooLong => {
                    file.number += 1;
                    self.faults
                        .too_long(file.name, file.number, &mut self.replayed);
                }
                Next::Line | Next::Unended => {
                    file.number += 1;
                    if let Some(earlier) = self.line(file, line.trim_ascii(), out)? {
                        self.replayed.repeated_files += 1;
                        return Ok(FileEnd::Repeated(earlier));
                    }
                }
            }
        }
        self.replayed.files += 1;
        let Some(error) = damage else {
            return Ok(FileEnd::Read);
        };
        self.faults
            .damaged(file.name, file.number, &error, &mut self.replayed);
        Ok(match error.raw_os_error() {
            Some(_) => FileEnd::Failed(error),
            None => FileEnd::Read,
        })
    }

    /// One line; returns an earlier file that begins like this one.
    fn line(
        &mut self,
        file: &mut InFile<'_>,
        line: &[u8],
        out: &mut impl Take,
    ) -> io::Result<Option<usize>> {
        if line.is_empty() {
            return Ok(None);
        }
        match line::parse(line, &mut self.hosts) {
            Ok(record) => self.record(file, &record, line, out),
            Err(error) => {
                // A run that was killed left half a line, and the next one appended to it.
                if let Some(start) = start_of_another(line)
                    && let Ok(record) = line::parse(&line[start..], &mut self.hosts)
                {
                    self.faults
                        .truncated(file.name, file.number, &mut self.replayed);
                    return self.record(file, &record, &line[start..], out);
                }
                match error {
                    LineError::Interval => self.replayed.intervals += 1,
                    LineError::NotARecord(error) if error.is_eof() => {
                        self.faults
                            .truncated(file.name, file.number, &mut self.replayed);
                    }
                    error => {
                        self.faults
                            .foreign(file.name, file.number, &error, &mut self.replayed);
                    }
                }
                Ok(None)
            }
        }
    }

    fn record(
        &mut self,
        file: &mut InFile<'_>,
        record: &Record,
        line: &[u8],
        out: &mut impl Take,
    ) -> io::Result<Option<usize>> {
        if !file.begun {
            file.begun = true;
            if let Some(earlier) = self.repeats.begin(file.index, record) {
                return Ok(Some(earlier));
            }
        }
        let replayed = &mut self.replayed;
        replayed.records += 1;
        if !self.selector.keeps(record) {
            return Ok(None);
        }
        if self.repeats.is_repeated(record) {
            replayed.repeated += 1;
            return Ok(None);
        }
        replayed.kept += 1;
        let time = record.time;
        replayed.first = Some(replayed.first.map_or(time, |first| first.min(time)));
        replayed.last = Some(replayed.last.map_or(time, |last| last.max(time)));
        out.take(record, line)?;
        Ok(None)
    }

    /// Says what was not said of single lines.
    pub fn finish(self) -> Replayed {
        self.faults.say_more();
        self.replayed
    }
}

struct InFile<'a> {
    index: usize,
    name: &'a str,
    /// Of the latest line, from 1.
    number: u64,
    /// It had a record.
    begun: bool,
}

/// Where in a line the last record begins, if that is not at its start. Inside a text of JSON there
/// is no such sequence: its quotes are escaped there.
fn start_of_another(line: &[u8]) -> Option<usize> {
    const START: &[u8] = br#"{"v":"#;
    let found = line.windows(START.len()).rposition(|part| part == START)?;
    (found > 0).then_some(found)
}

#[cfg(test)]
mod tests;
