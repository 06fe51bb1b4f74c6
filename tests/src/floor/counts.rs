//! How often programs ran, and for how long, from the kernel's own statistics.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde::{Deserialize, Serialize};

/// A program in the time between two looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// A set of the floor object, or the id of the process that has the program.
    pub owner: String,
    /// At most 15 bytes of its name.
    pub name: String,
    /// The kernel's id of it.
    pub id: u32,
    /// How often it ran.
    pub runs: u64,
    /// For how long, with what the kernel needs to look at the clock twice.
    pub ns: u64,
}

/// Runs and nanoseconds so far.
type Count = (u64, u64);

/// The counts at the last look.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    last: BTreeMap<u32, Count>,
}

impl Counts {
    /// What each program with an owner did since the last look, or since it was loaded.
    pub(crate) fn look(&mut self, owners: &BTreeMap<u32, String>) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for info in loaded_programs() {
            let info = info.context("cannot list the programs in the kernel")?;
            let Some(owner) = owners.get(&info.id()) else {
                continue;
            };
            let time = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            let (count, ns) = self.since(info.id(), (info.run_count(), time));
            runs.push(Run {
                owner: owner.clone(),
                name: info.name_as_str().unwrap_or_default().to_owned(),
                id: info.id(),
                runs: count,
                ns,
            });
        }
        Ok(runs)
    }

    fn since(&mut self, id: u32, now: Count) -> Count {
        let (runs, ns) = self.last.insert(id, now).unwrap_or_default();
        (now.0.saturating_sub(runs), now.1.saturating_sub(ns))
    }
}

/// The ids of the programs that a process has, by itself or through what it attached.
pub(crate) fn programs_of(pid: u32) -> Result<BTreeSet<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))?;
    // A descriptor may be gone by now.
    let infos = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    Ok(infos.filter_map(|info| program_id(&info)).collect())
}

fn program_id(info: &str) -> Option<u32> {
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_what_was_new_since_the_last_one() {
        let mut counts = Counts::default();
        assert_eq!(counts.since(7, (10, 900)), (10, 900));
        assert_eq!(counts.since(8, (1, 50)), (1, 50));
        assert_eq!(counts.since(7, (15, 1000)), (5, 100));
        assert_eq!(counts.since(7, (15, 1000)), (0, 0));
    }

    #[test]
    fn a_program_is_found_in_its_own_descriptor_and_in_that_of_a_link() {
        let program = "pos:\t0\nprog_type:\t26\nprog_jited:\t1\nprog_id:\t42\nrun_cnt:\t3\n";
        let link = "pos:\t0\nlink_type:\ttracing\nlink_id:\t5\nprog_tag:\taa\nprog_id:\t43\n";
        assert_eq!(program_id(program), Some(42));
        assert_eq!(program_id(link), Some(43));
        assert_eq!(program_id("pos:\t0\nmap_id:\t3\n"), None);
    }
}
