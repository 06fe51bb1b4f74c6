//! What this program does: trace, unless something else is asked for by name.

use super::{UsageError, doctor, replay};
use crate::options::Options;

/// What else than tracing can be asked for.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    Doctor(doctor::Args),
    Replay(Box<replay::Args>),
}

impl Verb {
    pub(super) fn command(self) -> Result<Command, UsageError> {
        Ok(match self {
            Self::Doctor(args) => Command::Doctor(args.options()),
            Self::Replay(args) => Command::Replay(Box::new(args.options()?)),
        })
    }
}

/// What was asked for.
#[derive(Debug)]
pub enum Command {
    /// The trace; boxed, because it has many times the options of the others.
    Trace(Box<Options>),
    /// What can be traced here.
    Doctor(crate::doctor::Options),
    /// The tables of recorded connections.
    Replay(Box<crate::replay::Options>),
}
