//! Live cost on this machine: loads on one core, with and without a side on another.

mod figures;
mod load;
mod machine;
mod measure;
mod reported;
mod result;
mod side;
mod sides;
mod table;
mod targets;
mod usage;
mod verdict;
// The load has the same file.
#[expect(
    unreachable_pub,
    dead_code,
    reason = "the file is written for the crate `tests`"
)]
#[path = "../../../tests/src/load/report.rs"]
mod report;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::{
    load::Kind,
    machine::Machine,
    measure::{Bench, Pace},
    result::Results,
    sides::{NULL, SIDES, Side},
};
use super::section::Section;
use crate::workspace;

#[derive(clap::Args)]
// The name would be that of all parts' options.
#[group(id = "host")]
pub(crate) struct Args {
    /// Only these loads
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOAD")]
    load: Vec<Kind>,
    /// Only sides whose names have one of these words in them; `nothing` is always there
    #[arg(long, value_delimiter = ',', value_name = "WORD")]
    side: Vec<String>,
    /// Slices with each side, each between two without
    #[arg(long, value_name = "N", default_value_t = 12)]
    pairs: usize,
    /// Milliseconds of a slice with a side; one without has half of that. A second holds as many
    /// of what a side does once a second as it should
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    slice: u64,
    /// Few and short slices: shows that everything runs, and whether what it reports is exact
    #[arg(long, conflicts_with_all = ["pairs", "slice"])]
    quick: bool,
}

impl Args {
    fn pace(&self) -> Pace {
        let (pairs, slice) = if self.quick {
            (2, 200)
        } else {
            (self.pairs, self.slice)
        };
        Pace {
            pairs,
            slice: Duration::from_millis(slice),
        }
    }

    fn sides(&self) -> Vec<&'static Side> {
        let named = |side: &&Side| {
            side.name == NULL
                || self
                    .side
                    .iter()
                    .any(|word| side.name.contains(word.as_str()))
        };
        let all = self.side.is_empty();
        SIDES.iter().filter(|side| all || named(side)).collect()
    }

    fn loads(&self) -> Vec<Kind> {
        if self.load.is_empty() {
            vec![Kind::Churn, Kind::PingPong, Kind::Bulk, Kind::Idle]
        } else {
            self.load.clone()
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Section> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can trace and make network namespaces: run `sudo cargo xtask bench`");
    }
    let built = workspace::build_release(&[
        ("tracer", "conntracer"),
        ("tests", "load"),
        ("tests", "floor"),
    ])?;
    // Before this process may use one core only.
    let machine = Machine::read();
    let [load_core, side_core] = cores()?;
    // This process and the sides, which inherit it, keep off the load's core.
    let _pinned = Pinned::to(side_core)?;
    let folder = folder()?;
    let bench = Bench {
        conntracer: &built["conntracer"],
        floor: &built["floor"],
        load: &built["load"],
        folder: folder.path(),
        core: load_core,
        pace: args.pace(),
    };
    let mut cells = Vec::new();
    for kind in args.loads() {
        cells.extend(bench.load(kind, &args.sides())?);
    }
    Results::new(machine, cells).section()
}

/// This process on one core; other parts of the bench may use all again.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn to(core: usize) -> Result<Self> {
        let before = allowed()?;
        let mut own = CpuSet::new();
        own.set(core);
        sched_setaffinity(None, &own).with_context(|| format!("core {core} is not ours"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // They were ours before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

fn allowed() -> Result<CpuSet> {
    sched_getaffinity(None).context("cannot read which cores are ours")
}

/// Two of the cores that this process may use: the load's, and that of everybody else.
fn cores() -> Result<[usize; 2]> {
    let allowed = allowed()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    match (cores.next(), cores.next()) {
        (Some(one), Some(other)) => Ok([one, other]),
        _ => bail!("a load and a tracer need a core each, and there is only one"),
    }
}

/// Where the sides write: in memory, if that is possible, as a disk is noise.
fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    folder.context("cannot make a temporary folder")
}
