//! Where the records of a replay go: into the tables, the map and on, if that is wanted. A consumer
//! that is slow is waited for; nothing is traced meanwhile.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use jiff::tz::TimeZone;

use super::Options;
use super::intervals::Slices;
use super::map::Merger;
use super::reader::Take;
use crate::aggregate::Aggregate;
use crate::interval::Interval;
use crate::names::tidy;
use crate::options::OutputFormat;
use crate::peers::Peers;
use crate::record::Record;
use crate::report;
use crate::sink::Format;
use crate::sink::json::Json;
use crate::sink::live::time::{Measure, TimeStyle};
use crate::sink::live::{Live, LiveOptions};
use crate::terminal;

/// Bytes written at a time.
const CHUNK: usize = 64 << 10;

/// The tables, and the records if they are wanted.
pub struct Output {
    /// The tables.
    pub tables: Aggregate,
    /// The map, if one is wanted.
    pub map: Option<Merger>,
    /// Who tells of peers what was not recorded, if somebody shall.
    pub peers: Option<Peers>,
    /// Instead of the records.
    intervals: Option<Slices>,
    stream: Option<Stream>,
    stop: Arc<AtomicBool>,
}

impl Output {
    /// Into `tables` only, or to stdout, too; until `stop` is set. Without a map.
    pub fn new(tables: Aggregate, options: &Options, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let intervals = options.interval.clone();
        let intervals = intervals.map(|interval| Slices::new(interval, options.max_rows));
        let usual = intervals.is_some().then_some(OutputFormat::Live);
        let format = options.format.or(usual);
        let with_records = intervals.is_none();
        let stream = format.map(|format| Stream::to_stdout(format, options.time, with_records));
        Ok(Self {
            tables,
            map: None,
            peers: None,
            intervals,
            stream: stream.transpose()?,
            stop,
        })
    }

    /// Writes what is not written yet.
    pub fn finish(&mut self) -> io::Result<()> {
        let last = self.intervals.as_mut().and_then(Slices::finish);
        match &mut self.stream {
            Some(stream) => {
                stream.write_interval(last.as_ref())?;
                stream.flush()
            }
            None => Ok(()),
        }
    }
}

impl Take for Output {
    fn begin_file(&mut self) {
        if let Some(intervals) = &mut self.intervals {
            intervals.begin_file();
        }
    }

    fn take(&mut self, record: &Record, line: &[u8]) -> io::Result<()> {
        let completed = self.peers.as_mut().map(|peers| {
            let mut record = record.clone();
            peers.complete(&mut record);
            record
        });
        let is_recorded = completed.as_ref().is_none_or(|it| it.peer == record.peer);
        let record = completed.as_ref().unwrap_or(record);
        self.tables.add(record);
        if let Some(map) = &mut self.map {
            map.add(record);
        }
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        match &mut self.intervals {
            Some(intervals) => stream.write_interval(intervals.add(record).as_ref()),
            None => stream.write(record, is_recorded.then_some(line)),
        }
    }

    fn is_done(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

struct Stream {
    shape: Shape,
    target: File,
    chunk: BytesMut,
    /// Each line at once: somebody is looking.
    at_once: bool,
}

enum Shape {
    /// As they are.
    Lines,
    Live(Box<Live>),
}

impl Stream {
    fn to_stdout(format: OutputFormat, time: TimeStyle, with_records: bool) -> io::Result<Self> {
        let stdout = io::stdout();
        let mut chunk = BytesMut::new();
        let shape = match format {
            OutputFormat::Json => Shape::Lines,
            OutputFormat::Live => {
                let live = Live::new(LiveOptions {
                    colour: terminal::wants_colour(&stdout),
                    traffic: false,
                    milliseconds: terminal::width(&stdout) >= terminal::ROOMY,
                    zone: TimeZone::system(),
                    time,
                    measure: Measure::Wall,
                    width: terminal::width(&stdout),
                });
                if with_records {
                    live.header(&mut chunk);
                }
                Shape::Live(Box::new(live))
            }
        };
        Ok(Self {
            shape,
            target: File::from(stdout.as_fd().try_clone_to_owned()?),
            chunk,
            at_once: stdout.is_terminal(),
        })
    }

    /// `json` is the line that it was, if it still is.
    fn write(&mut self, record: &Record, json: Option<&[u8]>) -> io::Result<()> {
        match &mut self.shape {
            Shape::Lines => match json {
                Some(line) => write_line(record, line, &mut self.chunk),
                None => {
                    Json.record(record, &mut self.chunk);
                }
            },
            Shape::Live(live) => {
                live.record(record, &mut self.chunk);
            }
        }
        if self.at_once || self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn write_interval(&mut self, interval: Option<&Interval>) -> io::Result<()> {
        let Some(interval) = interval else {
            return Ok(());
        };
        match &mut self.shape {
            // They are no part of the run's sequence.
            Shape::Lines => report::interval::json::write(interval, None, &mut self.chunk),
            Shape::Live(live) => live.interval(interval, &mut 0, &mut self.chunk),
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

/// The line as it was, unless it could do something to a terminal: then what is known of it.
fn write_line(record: &Record, line: &[u8], out: &mut BytesMut) {
    let is_harmless = std::str::from_utf8(line).is_ok_and(|text| tidy(text) == text);
    if is_harmless {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    } else {
        Json.record(record, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EventKind;
    use crate::replay::hosts::Hosts;
    use crate::replay::line::parse;
    use crate::sink::samples::inbound;

    fn through(line: &[u8]) -> String {
        let record = parse(line, &mut Hosts::default()).unwrap();
        let mut out = BytesMut::new();
        write_line(&record, line, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lines_pass_as_they_are_and_those_that_could_do_harm_as_what_is_known_of_them() {
        let mut record = inbound(EventKind::Accept);
        record.process.as_mut().unwrap().name = crate::names::escape("größe\\\n".as_bytes());
        let mut ours = BytesMut::new();
        Json.record(&record, &mut ours);
        let ours = String::from_utf8(ours.to_vec()).unwrap();
        assert_eq!(through(ours.trim_end().as_bytes()), ours);
        let spaced = ours
            .trim_end()
            .replace("\"v\":1,", "\"v\": 1, \"new\": [2],  ");
        assert_eq!(through(spaced.as_bytes()), spaced.clone() + "\n");
        let hostile = spaced.replace("nginx", "\u{9b}2J");
        let written = through(hostile.as_bytes());
        assert!(
            !written.contains('\u{9b}') && written.contains(r"\\u{9b}2J"),
            "{written}"
        );
        assert!(parse(written.trim_end().as_bytes(), &mut Hosts::default()).is_ok());
    }
}
