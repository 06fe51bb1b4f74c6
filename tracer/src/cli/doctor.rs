//! The command line of `conntracer doctor`.

use super::{BACKENDS, BackendChoice, choice};
use crate::doctor::{Format, Options};

const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

const EXIT_CODES: &str = "\
Exit codes: 0 the self-test passed, 1 it did not or could not be made, 2 wrong usage.";

/// Says what can be traced on this machine, and tries it out.
///
/// Looks at kernel, privileges and type information, attaches every hook of every backend and says
/// what the kernel answered, then traces a loopback connection of its own and compares what was
/// seen with what it did. Says last what is counted here and what is not. Without the rights to
/// trace it says which are missing, and all that can be known without them.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[arg(long, value_name = "FORMAT", value_parser = choice(FORMATS), default_value = "table",
        help = "Print it for people (table) or as one JSON object (json).")]
    format: Format,

    #[arg(long, value_name = "HOW", value_parser = choice(BACKENDS), default_value = "auto",
        help = "Make the self-test with these hooks; auto takes those that a trace would.")]
    backend: BackendChoice,
}

impl Args {
    pub(super) fn options(self) -> Options {
        Options {
            format: self.format,
            backend: self.backend,
        }
    }
}
