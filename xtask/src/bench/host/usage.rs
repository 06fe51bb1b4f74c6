//! What a side's processes used: CPU and memory, by /proc.

use std::{collections::BTreeMap, fs, ops::AddAssign};

use serde::Serialize;

/// The unit of times in /proc/PID/stat: 100 a second on every Linux.
const TICK_NS: u64 = 10_000_000;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// Resident at most.
    pub(crate) peak: u64,
    /// Of its kernel maps.
    pub(crate) maps: u64,
}

/// CPU time that a process and its children, present and past, have had.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    tree(pid).into_iter().map(process_cpu_ns).sum()
}

/// Memory of a process and its children.
pub(crate) fn memory(pid: u32) -> Memory {
    let mut memory = Memory::default();
    let mut maps = BTreeMap::new();
    for pid in tree(pid) {
        memory += resident(&read(format!("/proc/{pid}/status")));
        let infos = fs::read_dir(format!("/proc/{pid}/fdinfo"));
        for info in infos.into_iter().flatten().flatten() {
            let text = fs::read_to_string(info.path()).unwrap_or_default();
            maps.extend(map(&text));
        }
    }
    memory.maps = maps.into_values().sum();
    memory
}

/// Whether a process handles SIGINT.
pub(crate) fn handles_interrupt(pid: u32) -> bool {
    caught(&read(format!("/proc/{pid}/status"))).is_some_and(|signals| signals & 0b10 != 0)
}

/// The process and its descendants.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = Stat::parse(&read(format!("/proc/{child}/stat"))) {
            children.entry(stat.parent).or_default().push(child);
        }
    }
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(parent) = tree.get(next) {
        tree.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    tree
}

/// By the scheduler's own nanoseconds where there is a thread to ask; /proc/PID/stat has only
/// hundredths of a second, which a short slice does not fill.
fn process_cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let own: u64 = threads
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    let stat = Stat::parse(&read(format!("/proc/{pid}/stat")));
    let stat = stat.unwrap_or_default();
    let own = if own > 0 {
        own
    } else {
        stat.own_ticks * TICK_NS
    };
    own + stat.waited_ticks * TICK_NS
}

/// What is taken from /proc/PID/stat.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    /// Of children that were waited for.
    waited_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // A name may have spaces and parentheses.
        let (_, rest) = text.rsplit_once(") ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |place: usize| words.get(place)?.parse::<u64>().ok();
        Some(Self {
            parent: words.get(1)?.parse().ok()?,
            own_ticks: number(11)? + number(12)?,
            waited_ticks: number(13)? + number(14)?,
        })
    }
}

/// From /proc/PID/status.
fn resident(status: &str) -> Memory {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    Memory {
        resident: field("VmRSS:"),
        peak: field("VmHWM:"),
        maps: 0,
    }
}

/// The signals that a process handles, from /proc/PID/status.
fn caught(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Id and memory of a map, from the fdinfo of its descriptor.
fn map(info: &str) -> Option<(u32, u64)> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    let id = field("map_id:")?;
    Some((u32::try_from(id).ok()?, field("memlock:")?))
}

fn read(path: String) -> String {
    // A process may be gone.
    fs::read_to_string(path).unwrap_or_default()
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.peak += other.peak;
        self.maps += other.maps;
    }
}

impl Memory {
    /// The most of both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            peak: self.peak.max(other.peak),
            maps: self.maps.max(other.maps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let text = "9 (a) b (c) S 7 9 9 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 5 6 7";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(
            (stat.parent, stat.own_ticks, stat.waited_ticks),
            (7, 110, 150)
        );
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn memory_and_signals_are_read_from_the_status() {
        let status =
            "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nSigCgt:\t0000000000000002\n";
        let memory = resident(status);
        assert_eq!((memory.peak, memory.resident), (2 << 20, 1 << 20));
        assert_eq!(caught(status), Some(2));
        assert_eq!(caught("Name:\tx\n"), None);
    }

    #[test]
    fn only_maps_count_as_maps() {
        let info = "pos:\t0\nmap_type:\t27\nkey_size:\t0\nmemlock:\t4243456\nmap_id:\t12\n";
        assert_eq!(map(info), Some((12, 4_243_456)));
        assert_eq!(
            map("pos:\t0\nprog_type:\t5\nmemlock:\t4096\nprog_id:\t3\n"),
            None
        );
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(cpu_ns(pid) > 0);
        let memory = memory(pid);
        assert!(memory.peak >= memory.resident && memory.resident > 1 << 20);
    }
}
