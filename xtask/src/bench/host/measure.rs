//! Slices without a side, and between them slices with each side in turn.

use std::{mem, path::Path, thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    load::{Kind, Load},
    report::Ran,
    reported::Reported,
    side::{Place, Running, Start},
    sides::{Output, Side},
    usage::{self, Memory},
};
use crate::cmd;

/// For news that are on their way when a slice ends, and for what the kernel frees in its own time.
const SETTLE: Duration = Duration::from_millis(100);

/// So often that is waited for at most.
const MOST_SETTLES: usize = 30;

/// CPU time of a side that has nothing to read, in that time.
const QUIET_NS: u64 = 1_000_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) pairs: usize,
    /// With a side; without, half of it, as that is done twice.
    pub(crate) slice: Duration,
}

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) conntracer: &'a Path,
    pub(crate) floor: &'a Path,
    pub(crate) load: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) core: usize,
    pub(crate) pace: Pace,
}

/// One load with one side.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) load: Kind,
    pub(crate) side: &'static str,
    /// Why the side does not run here.
    pub(crate) refused: Option<String>,
    pub(crate) pairs: Vec<Pair>,
}

/// A slice with a side between two without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) before: Ran,
    pub(crate) with: With,
    pub(crate) after: Ran,
}

/// A slice with a side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct With {
    pub(crate) ran: Ran,
    pub(crate) own: Own,
    pub(crate) at_rest: Memory,
    pub(crate) memory: Memory,
    pub(crate) reported: Reported,
    /// What went wrong with the side.
    pub(crate) fault: Option<String>,
}

/// CPU time of the side's processes, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Own {
    pub(crate) in_slice: u64,
    /// In the slice and until all its news should have arrived.
    pub(crate) until_settled: u64,
}

impl Bench<'_> {
    /// Measures each side with one load, side after side and then again: what changes slowly on
    /// the machine concerns all alike.
    pub(crate) fn load(&self, kind: Kind, sides: &[&'static Side]) -> Result<Vec<Cell>> {
        let mut load = Load::start(self.load, kind, self.core)?;
        let sides = sides.iter().filter(|side| side.loads.contains(&kind));
        let mut cells: Vec<(&Side, Cell)> = sides
            .map(|side| {
                let cell = Cell {
                    load: kind,
                    side: side.name,
                    refused: None,
                    pairs: Vec::new(),
                };
                (*side, cell)
            })
            .collect();
        self.without(&mut load)?;
        let mut before = self.without(&mut load)?;
        for round in 0..self.pace.pairs {
            cmd::say(&format!("{kind}: {} of {}", round + 1, self.pace.pairs));
            // Each time another one is first: no side always follows the same other one.
            let count = cells.len();
            for place in 0..count {
                let place = if round % 2 == 0 {
                    place
                } else {
                    count - 1 - place
                };
                let (side, cell) = &mut cells[(round / 2 + place) % count];
                if cell.refused.is_some() || cell.pairs.len() >= side.most_pairs {
                    continue;
                }
                let with = self.with(&mut load, side);
                let with = with.with_context(|| format!("{} with {kind}", side.name))?;
                match with {
                    Err(refusal) => cell.refused = Some(refusal),
                    Ok(with) => {
                        let after = self.without(&mut load)?;
                        cell.pairs.push(Pair {
                            before: mem::replace(&mut before, after.clone()),
                            with,
                            after,
                        });
                    }
                }
            }
        }
        Ok(cells.into_iter().map(|(_, cell)| cell).collect())
    }

    fn without(&self, load: &mut Load) -> Result<Ran> {
        sleep(SETTLE);
        load.run(self.pace.slice / 2)
    }

    fn with(&self, load: &mut Load, side: &Side) -> Result<std::result::Result<With, String>> {
        let place = Place {
            conntracer: self.conntracer,
            floor: self.floor,
            load: *load.ready(),
            folder: self.folder,
        };
        let running = match Running::start(side, &place)? {
            Start::Ready(running) => running,
            Start::Refused(why) => return Ok(Err(why)),
        };
        let pid = running.pid();
        let at_rest = usage::memory(pid);
        let used = usage::cpu_ns(pid);
        let ran = load.run(self.pace.slice)?;
        let in_slice = usage::cpu_ns(pid).saturating_sub(used);
        let own = Own {
            in_slice,
            until_settled: settled(side, pid).saturating_sub(used),
        };
        let memory = usage::memory(pid).max(at_rest);
        let (reported, fault) = match running.stop()? {
            Ok(files) => match Reported::read(side.output, &files, &place.load, &ran.did) {
                Ok(reported) => (reported, None),
                Err(error) => (Reported::default(), Some(format!("{error:#}"))),
            },
            Err(fault) => (Reported::default(), Some(fault)),
        };
        Ok(Ok(With {
            ran,
            own,
            at_rest,
            memory,
            reported,
            fault,
        }))
    }
}

/// Waits until a side has read its news: one that is stopped before has not lost them. Returns its
/// CPU time.
fn settled(side: &Side, pid: u32) -> u64 {
    let mut before = usage::cpu_ns(pid);
    for _ in 0..MOST_SETTLES {
        sleep(SETTLE);
        let now = usage::cpu_ns(pid);
        let is_quiet = now.saturating_sub(before) < QUIET_NS;
        if is_quiet || side.output == Output::Nothing {
            return now;
        }
        before = now;
    }
    before
}
