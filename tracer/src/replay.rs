//! Recorded runs: JSON lines to the tables of the runs that wrote them.
//!
//! | part | does |
//! |---|---|
//! | [`source`] | which files, each once |
//! | [`compressed`] | bytes to text |
//! | [`lines`] | text to lines, none too long |
//! | [`line`](mod@line), [`hosts`] | a line to a [`crate::record::Record`] |
//! | [`select`] | whether it is asked for, by the judge of the kernel side |
//! | [`repeats`] | whether it was read before |
//! | [`faults`] | what is wrong with files and lines, told |
//! | [`reader`] | all of these, for whoever takes records |
//! | [`output`] | who takes them here: the tables, and stdout |
//! | [`intervals`] | what happened within each stretch of time |
//! | [`map`] | the same for the map of a `--state` file |
//!
//! Memory is bounded whatever the files hold: a line, a window of the decompressor, the rows of the
//! tables, the hosts, a batch of relations, and what is remembered of repeats and of connections
//! without an end.

pub mod compressed;
pub mod faults;
pub mod hosts;
pub mod intervals;
pub mod line;
pub mod lines;
pub mod map;
pub mod output;
pub mod reader;
pub mod repeats;
pub mod select;
pub mod source;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::address::ClassSet;
use crate::aggregate::{Aggregate, Run};
use crate::clock;
use crate::conclude;
use crate::interval;
use crate::map::options::Limits;
use crate::options::{FilterOptions, OutputFormat, PeerOptions};
use crate::peers::Peers;
use crate::preflight;
use crate::say::say;
use crate::sink::file::{SummaryFile, open_summary};
use crate::sink::live::time::TimeStyle;
use crate::stop::Stop;
use crate::summary::{Replayed, Summary};
use map::Merger;
use output::Output;
use reader::{FileEnd, Reader};
use select::Selector;
use source::Source;

/// How long input or output may keep a replay that was told to stop from its tables.
const PATIENCE: Duration = Duration::from_secs(2);

/// A replay's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is read; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Which connections.
    pub filter: FilterOptions,
    /// What the peer's address is; `None` = anything.
    pub classes: Option<ClassSet>,
    /// Shape of the records; `None` = no records.
    pub format: Option<OutputFormat>,
    /// What the TIME column of live lines shows.
    pub time: TimeStyle,
    /// Tables of stretches of time, instead of the records.
    pub interval: Option<interval::Options>,
    /// Where the tables go; `None` is stdout or stderr, by `format`.
    pub summary: Option<PathBuf>,
    /// What is told of peers beyond their addresses, instead of what was recorded.
    pub peers: PeerOptions,
    /// The map that they are added to; `None` = none is.
    pub state: Option<PathBuf>,
    /// Bounds of the map.
    pub limits: Limits,
    /// Rows a table; at least 1.
    pub top: usize,
    /// Rows kept a table; at least 1.
    pub max_rows: usize,
    /// Whatever could not be read makes the replay fail.
    pub strict: bool,
}

/// Reads all files and prints the tables. Returns the exit code.
pub async fn run(options: Options) -> anyhow::Result<u8> {
    let mut stop =
        Stop::listen(preflight::hangup_ignored()).context("cannot listen for signals")?;
    let sources = source::all(options.files.clone())?;
    let summary = options.summary.as_deref();
    if let Some(path) = summary {
        source::check_summary(path, &sources)?;
    }
    let file = summary.map(open_summary).transpose().context("--summary")?;
    let told = Arc::new(AtomicBool::new(false));
    let tables = Aggregate::of_recorded(options.max_rows);
    let mut output =
        Output::new(tables, &options, Arc::clone(&told)).context("stdout is not usable")?;
    output.peers = Peers::start(&options.peers)?;
    let state = options.state.as_deref();
    output.map = state
        .map(|path| Merger::open(path, options.limits))
        .transpose()
        .context("--state")?;
    let selector = Selector::new(options.filter.clone(), options.classes);
    let mut reading = tokio::task::spawn_blocking(move || read(&sources, selector, output));
    let done = tokio::select! {
        done = &mut reading => Some(done),
        () = stop.requested() => {
            told.store(true, Ordering::Relaxed);
            tokio::time::timeout(PATIENCE, reading).await.ok()
        }
    };
    let Some(done) = done else {
        let map = if options.state.is_some() {
            ", and the map may have a part of what was read"
        } else {
            ""
        };
        bail!(
            "stopped while waiting for input or for who reads the output; there are no tables{map}"
        );
    };
    Ok(finish(
        &options,
        file,
        done.context("the replay broke off")?,
    ))
}

/// What was read.
struct Done {
    tables: Aggregate,
    peers: Option<Peers>,
    replayed: Replayed,
    errors: Vec<String>,
    /// Nobody reads stdout any more.
    closed: bool,
}

fn read(sources: &[Source], selector: Selector, mut output: Output) -> Done {
    let mut reader = Reader::new(selector);
    let mut errors = Vec::new();
    let mut result = Ok(());
    for (index, source) in sources.iter().enumerate() {
        result = read_one(
            index,
            sources,
            source,
            &mut reader,
            &mut output,
            &mut errors,
        );
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| output.finish());
    let closed = matches!(&result, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
    if let Err(error) = result
        && !closed
    {
        errors.push(format!("cannot write to stdout: {error}"));
    }
    let unsaved = output.map.take().and_then(Merger::finish);
    errors.extend(unsaved);
    Done {
        tables: output.tables,
        peers: output.peers,
        replayed: reader.finish(),
        errors,
        closed,
    }
}

/// Reads one file; an error is that of the output.
fn read_one(
    index: usize,
    sources: &[Source],
    source: &Source,
    reader: &mut Reader,
    output: &mut Output,
    errors: &mut Vec<String>,
) -> io::Result<()> {
    let name = source.name();
    let raw = match source.open() {
        Ok(raw) => raw,
        Err(error) => {
            reader.replayed.unopened_files += 1;
            // Now, not at the end of what may take long.
            say(&format!("error: {error}"));
            errors.push("not every file was read".to_owned());
            return Ok(());
        }
    };
    let mut text = match compressed::text(raw) {
        Ok(text) => text,
        Err(error) => {
            reader.replayed.unopened_files += 1;
            errors.push(format!("{name}: {error}"));
            return Ok(());
        }
    };
    match reader.read(index, name, &mut *text, output)? {
        FileEnd::Read => {}
        FileEnd::Repeated(earlier) => {
            let earlier = sources[earlier].name();
            errors.push(format!(
                "{name} begins with the same record as {earlier}: its records would count twice, \
                 it was left out; give one of the two"
            ));
        }
        FileEnd::Failed(error) => errors.push(format!("{name}: cannot be read: {error}")),
    }
    Ok(())
}

fn finish(options: &Options, file: Option<SummaryFile>, done: Done) -> u8 {
    let Done {
        tables,
        peers,
        replayed,
        mut errors,
        closed,
    } = done;
    let mut summary = tables.finish(Run {
        time: clock::now(),
        host: None,
        traced: None,
        loss: None,
        kernel: None,
        replay: Some(replayed),
        sampled: None,
    });
    if let Some(mut peers) = peers {
        peers.describe(&mut summary.peers);
    }
    errors.dedup();
    write(options, &summary, file, closed, &mut errors);
    if options.strict && replayed.is_short() {
        errors.push("--strict: not everything could be read, see the missing lines".to_owned());
    }
    conclude::code(&errors)
}

fn write(
    options: &Options,
    summary: &Summary,
    file: Option<SummaryFile>,
    closed: bool,
    errors: &mut Vec<String>,
) {
    if let Some(file) = file {
        let bytes = conclude::for_file(options.summary.as_deref(), options.top, summary);
        if let Err(error) = file.write(&bytes) {
            errors.push(format!("--summary: {error}"));
        }
    }
    let on_stdout = options.format != Some(OutputFormat::Json) && !closed;
    if let Err(error) = conclude::print(summary, on_stdout, options.top)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        errors.push(format!("cannot print the tables: {error}"));
    }
}
