//! Processes that start others without a pause, each of which connects to itself.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::getpid;

use super::children::{name, pair};
use super::counted::exchange;
use super::fork::{Child, well};
use super::report::say;
use crate::harness::readable;
use crate::truth::{Line, now};

/// Bytes each way.
const BYTES: usize = 99;

/// Children of each that starts some, before another one does.
const SHORT_LIVED: u32 = 10;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct RelayArgs {
    /// How many start others at a time.
    #[arg(long, default_value_t = 3)]
    lines: u32,
    /// How many do so one after the other, each a child of the one before.
    #[arg(long, default_value_t = 100)]
    depth: u32,
}

/// Names itself `root`, and starts the first of each line. They go on until standard input ends; whoever
/// has children waits for them.
pub(super) fn run(args: &RelayArgs) -> anyhow::Result<()> {
    name("root", getpid())?;
    // It is at its end when nobody is to go on.
    let (on_end, end) = std::io::pipe()?;
    let on_end = OwnedFd::from(on_end);
    let mut end = Some(end);
    let mut first = Vec::new();
    for _ in 0..args.lines {
        first.push(Child::start(None, || {
            drop(end.take());
            generation(args.depth, &on_end)
        })?);
    }
    say(&Line::Ready {})?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    drop(end);
    first.into_iter().try_for_each(|child| child.wait(well))
}

/// Starts children, and then one that does the same; the last starts children until the end.
fn generation(depth: u32, on_end: &OwnedFd) -> anyhow::Result<()> {
    connect()?;
    for number in 0.. {
        if readable(on_end, Duration::ZERO) {
            break;
        }
        if number == SHORT_LIVED && depth > 1 {
            return Child::start(None, || generation(depth - 1, on_end))?.wait(well);
        }
        Child::start(None, || {
            connect()?;
            Child::start(None, connect)?.wait(well)
        })?
        .wait(well)?;
    }
    Ok(())
}

/// Names this process, which has just begun, by the time, and connects it to itself.
fn connect() -> anyhow::Result<()> {
    name(&now().to_string(), getpid())?;
    let [mut client, mut server] = pair()?;
    exchange(&mut client, &mut server, BYTES)?;
    // So many would use up the ports if they left something behind.
    client.linger_zero()?;
    say(&Line::Client(client.close("reset")))?;
    say(&Line::Server(server.close("reset")))
}
