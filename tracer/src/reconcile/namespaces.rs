//! Finds the network namespaces of this host by the processes in them, and reads their counters.
//!
//! Nothing is held open in between: that would keep namespaces alive whose containers are gone. So a
//! namespace is found anew each time, and one that no process is in cannot be read.

use std::collections::BTreeMap;
use std::fs::{read_link, read_to_string};

use super::Readings;
use super::mib::Counters;
use crate::options::netns::inode_in_link;

/// Namespaces that are read; each costs some 0.1 ms per reading, which must be short.
const MOST: usize = 256;

/// Processes remembered of each, in case the first ends.
const WITNESSES: usize = 3;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Processes by namespace.
    processes: BTreeMap<u32, Vec<u32>>,
    /// Namespaces that exist and are not in `processes`.
    others: Vec<u32>,
}

/// The namespaces in `wanted`, or all if that is empty.
pub fn find(wanted: &[u32]) -> Found {
    let mut found = Found::default();
    found.add(wanted, std::process::id());
    for pid in pids() {
        // With names to look for, most hosts need a fraction of their processes looked at.
        if !wanted.is_empty() && found.processes.len() == wanted.len() {
            break;
        }
        found.add(wanted, pid);
    }
    found.others.extend(mounted());
    found
}

impl Found {
    fn add(&mut self, wanted: &[u32], pid: u32) {
        let Some(netns) = netns_of(pid) else { return };
        if !wanted.is_empty() && !wanted.contains(&netns) {
            return;
        }
        if self.processes.len() == MOST && !self.processes.contains_key(&netns) {
            self.others.push(netns);
            return;
        }
        let pids = self.processes.entry(netns).or_default();
        if pids.len() < WITNESSES {
            pids.push(pid);
        }
    }

    /// Their counters now; without those that cannot be read any more.
    pub fn read(&self) -> Readings {
        let read = |(netns, pids): (&u32, &Vec<u32>)| {
            let counters = pids.iter().find_map(|pid| read(*netns, *pid))?;
            Some((*netns, counters))
        };
        self.processes.iter().filter_map(read).collect()
    }

    /// Those that exist and are not among `readings`.
    pub fn without_reading(&self, readings: &Readings) -> Vec<u32> {
        let all = self.processes.keys().chain(&self.others);
        all.filter(|netns| !readings.contains_key(*netns))
            .copied()
            .collect()
    }
}

fn read(netns: u32, pid: u32) -> Option<Counters> {
    let file = |name| read_to_string(format!("/proc/{pid}/net/{name}")).ok();
    let counters = Counters::parse(&file("snmp")?, &file("netstat")?);
    // The process can have moved, and its number can be another's.
    counters.filter(|_| netns_of(pid) == Some(netns))
}

fn netns_of(pid: u32) -> Option<u32> {
    let link = read_link(format!("/proc/{pid}/ns/net")).ok()?;
    inode_in_link(link.to_str()?)
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Namespaces that have a name (`ip netns`, container runtimes), with or without processes.
fn mounted() -> Vec<u32> {
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| inode_in_link(line.split(' ').nth(3)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> u32 {
        netns_of(std::process::id()).unwrap()
    }

    #[test]
    fn the_own_namespace_is_found_and_read() {
        for wanted in [Vec::new(), vec![own()]] {
            let found = find(&wanted);
            assert!(found.read().contains_key(&own()));
            assert!(!found.without_reading(&found.read()).contains(&own()));
            assert!(found.without_reading(&Readings::new()).contains(&own()));
        }
    }

    #[test]
    fn a_namespace_that_is_not_wanted_is_not_found() {
        assert!(find(&[1]).read().is_empty());
    }

    #[test]
    fn a_process_that_went_elsewhere_is_not_believed() {
        assert!(read(own(), std::process::id()).is_some());
        assert!(read(own() + 1, std::process::id()).is_none());
    }
}
