//! `conntracer doctor`: what can be traced on this machine, and whether it is traced right.
//!
//! | part | does |
//! |---|---|
//! | [`gather`] | looks at the machine, and tries every backend |
//! | [`self_test`], `stage` | trace a loopback connection; make one |
//! | [`machine`], [`attempt`], [`compare`], [`coverage`] | judge what was found; pure |
//! | [`report`] | the whole, as data |
//! | [`mod@print`] | the report as text |

pub mod attempt;
pub mod compare;
pub mod coverage;
pub mod gather;
pub mod machine;
pub mod print;
pub mod report;
pub mod self_test;
mod stage;

use std::io::{self, Write};

use anyhow::Context;

use crate::bpf::programs::Backend;
use crate::say::say;
use crate::{exit, terminal};
use report::Report;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the report is written.
    pub format: Format,
    /// What the self-test is made with; `None` = what a trace would take.
    pub backend: Option<Backend>,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

/// Examines this machine and prints what it found. Returns the exit code: clean only if the
/// self-test passed.
pub async fn run(options: Options) -> anyhow::Result<u8> {
    let report = Report::new(gather::gather(options.backend).await);
    let mut stdout = io::stdout().lock();
    let text = match options.format {
        Format::Table => print::text(&report, terminal::width(&stdout)),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write the report");
        }
        _ => {}
    }
    Ok(match report.self_test.problem() {
        None => exit::CLEAN,
        Some(problem) => {
            say(&format!("error: {problem}"));
            exit::FAILURE
        }
    })
}
