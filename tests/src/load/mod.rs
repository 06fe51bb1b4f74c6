//! TCP traffic as fast as one core makes it, in slices, for `cargo xtask bench`.
//!
//! One thread has both ends of every connection: over loopback the kernel does the work of both
//! sides in the calling task, and nothing but system calls stands between them. So what a tracer
//! adds is not hidden behind context switches.

mod bulk;
mod churn;
mod exchange;
mod idle;
mod pair;
pub mod report;

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use self::report::{Did, Ran, Ready, Window};
use crate::namespace::Namespace;

/// Part of a run that is not measured: caches and the clock of the core settle.
const WARM_UP: u32 = 10;

/// Pieces in which the measured time is told: others on the machine slow a core for as little.
const WINDOW: Duration = Duration::from_millis(10);

/// Connections over which requests go round.
const BUSY: usize = 16;

#[derive(Parser)]
#[command(name = "load", about = "Runs `run MILLISECONDS` from standard input")]
struct Args {
    #[arg(value_enum)]
    load: Kind,
    /// Stay on this core
    #[arg(long)]
    core: Option<usize>,
    /// Idle connections of `idle`
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Connect, 100 bytes there, 200 bytes back, close
    Churn,
    /// 100 bytes there and back over each of 16 connections in turn
    PingPong,
    /// 64 KiB after 64 KiB over one connection
    Bulk,
    /// `ping-pong` beside many connections that do nothing
    Idle,
    /// No load: the process that has the other ends of `idle`
    #[value(hide = true)]
    Clients,
}

/// Something that can be done again and again.
trait Load {
    /// One operation.
    fn once(&mut self, did: &mut Did) -> Result<()>;

    /// Ends of connections that stay open.
    fn open(&self) -> usize;
}

/// Does what standard input says until that ends.
pub fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(core) = args.core {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores).with_context(|| format!("core {core} is not ours"))?;
    }
    if let Kind::Clients = args.load {
        return idle::clients(args.connections);
    }
    let namespace = Namespace::new();
    namespace.enter();
    let mut load = args.load()?;
    answer(&Ready {
        pid: std::process::id(),
        netns: namespace.inode().parse()?,
        open: load.open() as u64,
    })?;
    let mut total = Did::default();
    for line in stdin().lock().lines() {
        let line = line.context("reading commands")?;
        let millis = line.strip_prefix("run ").and_then(|word| word.parse().ok());
        let millis = millis.with_context(|| format!("not `run MILLISECONDS`: {line:?}"))?;
        let time = Duration::from_millis(millis);
        answer(&run(&mut *load, time, &mut total)?)?;
    }
    Ok(())
}

impl Args {
    fn load(&self) -> Result<Box<dyn Load>> {
        Ok(match self.load {
            Kind::Churn => Box::new(churn::Churn::new()?),
            Kind::PingPong => Box::new(exchange::Exchange::new(BUSY, 0)?),
            Kind::Bulk => Box::new(bulk::Bulk::new()?),
            Kind::Idle => Box::new(exchange::Exchange::new(BUSY, self.connections)?),
            Kind::Clients => bail!("no load"),
        })
    }
}

fn run(load: &mut dyn Load, time: Duration, total: &mut Did) -> Result<Ran> {
    let before = *total;
    let begin = Instant::now();
    repeat(load, time / WARM_UP, total)?;
    let mut windows = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let cpu = cpu_ns();
        let begin = Instant::now();
        let ops = repeat(load, WINDOW, total)?;
        windows.push(Window {
            ops,
            wall_ns: begin.elapsed().as_nanos().try_into()?,
            cpu_ns: cpu_ns() - cpu,
        });
    }
    Ok(Ran {
        windows,
        working_ns: begin.elapsed().as_nanos().try_into()?,
        did: total.since(&before),
        total: *total,
    })
}

fn repeat(load: &mut dyn Load, time: Duration, did: &mut Did) -> Result<u64> {
    let begin = Instant::now();
    let mut ops = 0;
    while begin.elapsed() < time {
        load.once(did)?;
        ops += 1;
    }
    Ok(ops)
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let time = Duration::try_from(time).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Raises the soft limit, and the hard one where that is too low.
fn allow_descriptors(count: usize) -> Result<()> {
    let wanted = u64::try_from(count + 2 * BUSY)? + 64;
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(wanted),
        maximum: hard.map(|hard| hard.max(wanted)),
    };
    setrlimit(Resource::Nofile, limit).with_context(|| {
        format!("{count} open sockets are not allowed: raise the limit (`ulimit -Hn {wanted}`)")
    })
}

fn answer(line: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = stdout().lock();
    out.write_all(&text).context("answering")?;
    out.flush().context("answering")
}
