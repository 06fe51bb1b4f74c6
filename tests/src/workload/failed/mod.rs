//! Attempts that come to nothing: the table of kinds is in `kinds.rs`.

mod aborted;
mod attempt;
mod kinds;
mod network;
mod pending;
mod reset;
mod vain;

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use super::report::say;
use crate::truth::{Attempt, Line};
pub(super) use aborted::{VictimArgs, victim};
pub(super) use attempt::How;
use attempt::Outcome;
use kinds::{KINDS, Kind, Script};
pub(super) use network::FullListener;
pub(super) use pending::wait_for_pending;
pub(super) use vain::{connect_in_vain, never_accepted};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct FailedArgs {
    /// Which kind.
    #[arg(long, required_unless_present = "list")]
    kind: Option<String>,
    /// By which calls.
    #[arg(long, default_value = "sync")]
    how: How,
    /// Which addresses and sockets.
    #[arg(long, default_value = "ipv4")]
    family: Family,
    /// How many attempts.
    #[arg(long, default_value_t = 3)]
    connections: u16,
    /// Names all kinds, one a line, and does nothing else.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// The kind that the scenario `refused` stands for.
pub(super) fn refused(connections: u32) -> anyhow::Result<()> {
    run(&FailedArgs {
        kind: Some("refused".into()),
        how: How::Sync,
        family: Family::Ipv4,
        connections: connections.try_into()?,
        list: false,
    })
}

/// The names of all kinds.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

pub(super) fn run(args: &FailedArgs) -> anyhow::Result<()> {
    let Some(name) = args.kind.as_deref().filter(|_| !args.list) else {
        let list = names().fold(String::new(), |list, name| list + name + "\n");
        return Ok(std::io::stdout().write_all(list.as_bytes())?);
    };
    let mut kinds = KINDS.iter();
    let kind = kinds
        .find(|kind| kind.name == name)
        .with_context(|| format!("there is no kind {name}: `failed --list` names all"))?;
    if let Some(reason) = args.how.lacks()? {
        return say(&Line::NotHere { reason });
    }
    let place = (kind.place)(args.family, args.connections)?;
    let remote = place.remote;
    match kind.script {
        Script::Fails { prepare, .. } => std::thread::scope(|scope| {
            let attempt = |number| {
                let socket = args.how.socket(remote)?;
                prepare(&socket, remote, number)?;
                tell(kind, &args.how.connect(&socket, remote)?)
            };
            if !kind.together {
                return (0..args.connections).try_for_each(attempt);
            }
            let threads = (0..args.connections).map(|number| scope.spawn(move || attempt(number)));
            let threads: Vec<_> = threads.collect();
            (place.meanwhile)()?;
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("an attempting thread panicked"))
        })?,
        Script::GivenUp(give_up) => {
            for _ in 0..args.connections {
                tell(kind, &aborted::give_up(args.how, remote, give_up)?)?;
            }
        }
        Script::Killed => {
            for _ in 0..args.connections {
                tell(kind, &aborted::kill(args.how, remote)?)?;
            }
        }
    }
    (place.leave)()
}

fn tell(kind: &Kind, outcome: &Outcome) -> anyhow::Result<()> {
    if let Script::Fails { errors, .. } = kind.script {
        let error = outcome.error;
        ensure!(
            error.is_some_and(|error| errors.contains(&error)),
            "{}: the attempt gave {error:?}, not one of {errors:?}",
            kind.name
        );
    }
    say(&Line::Failed(Attempt {
        local: outcome.local,
        remote: outcome.remote,
        v6_socket: outcome.remote.is_ipv6(),
        owner_pid: outcome.owner_pid,
        reason: kind.reason.to_owned(),
        began: outcome.began,
        ended: outcome.ended,
    }))
}
