//! What this program does: trace, unless something else is asked for by name.

use super::{UsageError, doctor, list, map, replay};
use crate::options::Options;

/// What else than tracing can be asked for.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    Doctor(doctor::Args),
    List(Box<list::Args>),
    Map(Box<map::Args>),
    Replay(Box<replay::Args>),
}

impl Verb {
    pub(super) fn command(self) -> Result<Command, UsageError> {
        Ok(match self {
            Self::Doctor(args) => Command::Doctor(args.options()),
            Self::List(args) => Command::List(Box::new(args.options()?)),
            Self::Map(args) => Command::Map(args.options()?),
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
    /// The sockets there are now.
    List(Box<crate::list::Options>),
    /// Shows what runs have kept.
    Map(crate::map::options::Options),
    /// The tables of recorded connections.
    Replay(Box<crate::replay::Options>),
}
