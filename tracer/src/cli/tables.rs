//! The options of the tables, the same for a run and for a replay.

use std::path::PathBuf;

use super::{MACHINE, OUTPUT, UsageError, file, one};
use crate::options::values::{MAX_MAX_ROWS, parse_count};

#[derive(clap::Args)]
pub(super) struct TableArgs {
    #[arg(long, value_name = "FILE", help_heading = OUTPUT,
        help = "Write the tables to this file, as JSON if it ends in .json. Default: stdout, or \
                stderr with --format json.")]
    summary: Option<PathBuf>,

    #[arg(long, value_name = "ROWS", help_heading = OUTPUT, allow_hyphen_values = true,
        help = "Show at most this many rows in each table, and the rest as one; a summary in JSON \
                always has all. Default: 20, and all in `interval` records.")]
    top: Option<String>,

    #[arg(long, value_name = "ROWS", help_heading = MACHINE, allow_hyphen_values = true,
        default_value = "100000",
        help = "Keep at most this many rows a table, each of about 150 bytes; beyond, the least \
                busy are added up in one row named (other), and totals stay exact.")]
    max_rows: String,
}

/// What was asked for, checked.
pub(super) struct Tables {
    pub(super) summary: Option<PathBuf>,
    /// `None` = 20 where people read, and all in JSON.
    pub(super) top: Option<usize>,
    pub(super) max_rows: usize,
}

impl TableArgs {
    pub(super) fn check(self) -> Result<Tables, UsageError> {
        let rows = |option: &str, text: &str, most: u64| {
            let rows = one(option, text, |text| parse_count(text, 1, most))?;
            Ok::<_, UsageError>(usize::try_from(rows).unwrap_or(usize::MAX))
        };
        Ok(Tables {
            summary: file("--summary", self.summary)?,
            max_rows: rows("--max-rows", &self.max_rows, MAX_MAX_ROWS)?,
            top: self
                .top
                .map(|top| rows("--top", &top, 1_000_000))
                .transpose()?,
        })
    }
}
