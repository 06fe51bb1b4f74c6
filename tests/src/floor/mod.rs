//! What conntracer's programs are measured against: programs that do as little as can be done, on
//! the same calls, and the kernel's statistics of both. A program of its own, `floor`.

mod counts;
mod reader;
mod sets;
mod tracefs;

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, Ebpf, EbpfLoader};
use clap::Parser;
use serde_json::json;

pub use counts::Run;
use counts::{Counts, programs_of};
use reader::Reader;
use sets::Set;

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/floor.x86_64.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/floor.aarch64.o");

/// Attaches sets of programs, says `{"ready":true}`, and then answers each line on its standard
/// input, a list of process ids, with what its own programs and those of these processes did since
/// the line before; the first line begins the statistics. It ends with its input.
#[derive(Debug, Parser)]
struct Cli {
    /// What to attach
    #[arg(long, value_enum, value_delimiter = ',')]
    attach: Vec<Set>,
    /// Answer nothing: say on standard error that all is attached, and stay until a signal ends it
    #[arg(long)]
    hold: bool,
}

/// Does what the command line says.
pub fn main() -> Result<()> {
    let cli = Cli::parse();
    let kernel = Btf::from_sys_fs().context("cannot read the kernel's types")?;
    tracefs::mount_privately()?;
    let mut objects = Vec::new();
    let mut own = BTreeMap::new();
    for set in &cli.attach {
        let mut object = load(*set)?;
        for id in set.attach(&mut object, &kernel)? {
            own.insert(id, set.name());
        }
        let reader = set
            .sends()
            .then(|| Reader::start(&mut object))
            .transpose()?;
        objects.push((object, reader));
    }
    say(&json!({"ready": true}))?;
    if cli.hold {
        writeln!(std::io::stderr(), "ready: {} programs", own.len())?;
        loop {
            std::thread::park();
        }
    }
    // On while it is open; not before somebody asks, because statistics have a cost, too.
    let mut statistics = None;
    let mut counts = Counts::default();
    for line in std::io::stdin().lock().lines() {
        if statistics.is_none() {
            let on = enable_stats(Stats::RunTime).context("cannot switch statistics on")?;
            statistics = Some(on);
        }
        let mut owners = own.clone();
        for pid in line?.split_whitespace() {
            let pid = pid
                .parse()
                .with_context(|| format!("{pid} is no process id"))?;
            owners.extend(
                programs_of(pid)?
                    .into_iter()
                    .map(|id| (id, pid.to_string())),
            );
        }
        say(&json!({"programs": counts.look(&owners)?}))?;
    }
    Ok(())
}

/// What the programs of a process do while `work` is done.
pub fn during(pid: u32, work: impl FnOnce() -> Result<()>) -> Result<Vec<Run>> {
    let _statistics = enable_stats(Stats::RunTime).context("cannot switch statistics on")?;
    let programs = programs_of(pid)?.into_iter();
    let owners = programs.map(|id| (id, pid.to_string())).collect();
    let mut counts = Counts::default();
    counts.look(&owners)?;
    work()?;
    counts.look(&owners)
}

fn load(set: Set) -> Result<Ebpf> {
    let quiet = u32::from(set == Set::QuietPrototype);
    let mut loader = EbpfLoader::new();
    loader.override_global("PROTOTYPE_IS_QUIET", &quiet, true);
    loader.load(OBJECT).context("cannot load the floor object")
}

fn say(line: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
