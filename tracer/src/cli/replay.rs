//! The command line of `conntracer replay`.

use std::path::PathBuf;

use super::filter::{FilterArgs, class_set};
use super::interval::IntervalArgs;
use super::peers::PeerArgs;
use super::state::{LimitArgs, MAP};
use super::tables::TableArgs;
use super::time::TimeArgs;
use super::{FORMATS, OUTPUT, SELECT, UsageError, choice, file};
use crate::options::OutputFormat;
use crate::options::values::DEFAULT_TOP;
use crate::replay::Options;

const EXAMPLES: &str = "\
Examples:
  conntracer replay c.jsonl                   the tables of the run that wrote it
  conntracer replay web1.jsonl.gz web2.jsonl.zst --port 443
                                              who used the web servers, by host
  conntracer replay --format json --remote-port 5432 c.jsonl.gz
                                              only the records of connections to the database
  conntracer replay --interval 1h --by class c.jsonl
                                              what kind of peers came, hour by hour
  conntracer replay --state web.map c.jsonl   who uses what, kept for `conntracer map`
  ssh box cat c.jsonl.zst | conntracer replay -

Exit codes: 0 clean, 1 failure, 2 wrong usage.";

/// Adds recorded connections up to the tables of the runs that recorded them.
///
/// Reads the JSON lines of `conntracer --format json`, plain or compressed by gzip or zstd, of one
/// host or of many: then each row has its host. Lines that are cut short or no record are left out,
/// counted and named. Options that select connections must all fit.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[arg(
        value_name = "FILE",
        required = true,
        help = "Read these files, compressed or not; `-` is standard input."
    )]
    files: Vec<PathBuf>,

    #[command(flatten)]
    filter: FilterArgs,

    #[arg(long, value_name = "CLASSES", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections whose peer's address is public (globally reachable), private \
                (not), or of a class by IANA's registries, as in private-use,unique-local; may be \
                repeated. Default: all.")]
    class: Vec<String>,

    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT, value_parser = choice(FORMATS),
        help = "Write the records, too: as lines for people (live) or as the JSON lines that they \
                are (json), with the tables on stderr then. With --interval, write intervals in this \
                shape instead. Default: only the tables.")]
    format: Option<OutputFormat>,

    #[command(flatten)]
    time: TimeArgs,

    #[command(flatten)]
    interval: IntervalArgs,

    #[command(flatten)]
    tables: TableArgs,

    #[arg(long, help_heading = OUTPUT,
        help = "Fail with exit code 1 if a line was cut short or no record, or a file damaged. \
                Default: say so and go on.")]
    strict: bool,

    #[command(flatten)]
    peers: PeerArgs,

    #[arg(long, value_name = "FILE", help_heading = MAP,
        help = "Add who used which service to the map in this file; see `conntracer map`. The same \
                records read again count again. Default: to none.")]
    state: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,
}

impl Args {
    pub(super) fn options(self) -> Result<Options, UsageError> {
        let tables = self.tables.check()?;
        let state = file("--state", self.state)?;
        if let Some(state) = &state
            && Some(state) == tables.summary.as_ref()
        {
            let problem = "--summary writes there too; give each its own file";
            let state = state.to_string_lossy();
            return Err(UsageError::invalid("--state", &state, &problem));
        }
        let time = self.time.check(self.format)?;
        Ok(Options {
            files: self.files,
            filter: self.filter.check()?,
            classes: class_set(&self.class)?,
            format: self.format,
            summary: tables.summary,
            peers: self.peers.check()?,
            state,
            limits: self.limits.check()?,
            time,
            interval: self.interval.check(tables.top, false, true)?,
            top: tables.top.unwrap_or(DEFAULT_TOP),
            max_rows: tables.max_rows,
            strict: self.strict,
        })
    }
}
