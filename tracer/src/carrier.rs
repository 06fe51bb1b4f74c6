//! Who carries our own output. Over ssh every line we print is traffic of sshd, which would be
//! the next line we print; this finds such processes so that their traffic can be left out.
//!
//! Output is followed from our terminal or pipe to who holds its other end, and from there on:
//! sudo and tmux have terminals of their own in between, `| tee log | ssh host` another pipe. A
//! pseudo-terminal of another devpts instance (a container's) that has the same number is taken
//! for ours.

mod holdings;
pub(crate) mod stat;

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::FileType;

pub use holdings::Via;
use holdings::{Channel, Holdings};
use stat::{PTS_MAJOR, Stat, launcher};

/// Answers that are kept; beyond, all are asked for again.
const MAX_CACHED: usize = 4096;

/// A process: id and start in clock ticks, since ids are used again.
type Identity = (u32, u64);

/// The processes that carry our output.
#[derive(Debug)]
pub struct Carriers {
    own_pid: u32,
    /// What we write to.
    own_channels: HashSet<Channel>,
    /// What our output goes through, ours included.
    channels: HashSet<Channel>,
    /// Carries our terminal even where its descriptors cannot be looked at.
    launcher: Option<Identity>,
    cache: HashMap<Identity, Option<Via>>,
}

impl Carriers {
    /// Of what goes to stdout and stderr.
    pub fn detect() -> Self {
        Self::of(&[std::io::stdout().as_fd(), std::io::stderr().as_fd()])
    }

    /// Of what goes to `outputs`. Looks at all processes once.
    pub fn of(outputs: &[BorrowedFd<'_>]) -> Self {
        let own_pid = std::process::id();
        let started_from = |fd: &BorrowedFd<'_>| {
            let socket = file_type(*fd) == Some(FileType::Socket);
            socket || rustix::termios::isatty(fd)
        };
        let launcher = outputs
            .iter()
            .any(started_from)
            .then(|| launcher(own_pid, Stat::read));
        let mut carriers = Self {
            own_pid,
            own_channels: outputs.iter().filter_map(|fd| channel_of(*fd)).collect(),
            channels: HashSet::new(),
            launcher: launcher.flatten().map(|(pid, stat)| (pid, stat.start)),
            cache: HashMap::new(),
        };
        carriers.refresh();
        carriers
    }

    /// Looks at all processes again: who reads our pipe may have come later, as may another
    /// client of tmux.
    pub fn refresh(&mut self) {
        self.cache.clear();
        self.channels = self.own_channels.clone();
        if !self.has_any() {
            return;
        }
        let mut others: Vec<_> = pids()
            .filter(|pid| *pid != self.own_pid)
            .map(|pid| (pid, Holdings::read(pid, &self.own_channels)))
            .collect();
        loop {
            let launcher = self.launcher.map(|(pid, _)| pid);
            let (carriers, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|(pid, held)| {
                Some(*pid) == launcher || held.receives(&self.channels).is_some()
            });
            if carriers.is_empty() {
                return;
            }
            self.channels
                .extend(carriers.iter().flat_map(|(_, held)| held.passes_on()));
            others = rest;
        }
    }

    /// Whether process `pid` carries our output, or is ourselves. Reads `/proc/PID/stat` each
    /// time, and more the first time.
    pub fn is_carrier(&mut self, pid: u32) -> bool {
        self.via(pid, None).is_some()
    }

    /// How process `pid`, as `/proc` here numbers it, carries our output; `None` if it does not. With its start in nanoseconds
    /// since boot, a repeated question costs a look-up.
    pub fn via(&mut self, pid: u32, start_ns: Option<u64>) -> Option<Via> {
        if pid == self.own_pid {
            return Some(Via::Itself);
        }
        if !self.has_any() {
            return None;
        }
        let known = start_ns.map(|start_ns| (pid, ticks(start_ns)));
        if let Some(via) = known.and_then(|identity| self.cache.get(&identity)) {
            return *via;
        }
        let identity = (pid, Stat::read(pid)?.start);
        if known.is_some_and(|known| known != identity) {
            return None;
        }
        if let Some(via) = self.cache.get(&identity) {
            return *via;
        }
        let via = if self.launcher == Some(identity) {
            Some(Via::Terminal)
        } else {
            Holdings::read(pid, &self.own_channels).receives(&self.channels)
        };
        self.remember(identity, via);
        via
    }

    /// Whether anybody but ourselves can carry our output: not if it goes to a file.
    fn has_any(&self) -> bool {
        !self.own_channels.is_empty() || self.launcher.is_some()
    }

    fn remember(&mut self, identity: Identity, via: Option<Via>) {
        if self.cache.len() >= MAX_CACHED {
            self.cache.clear();
        }
        self.cache.insert(identity, via);
    }
}

/// As the kernel rounds it for `/proc/PID/stat`.
pub(crate) fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Ticks of `/proc/PID/stat` as nanoseconds.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// The processes that `/proc` shows.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let folder = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folder.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn file_type(fd: BorrowedFd<'_>) -> Option<FileType> {
    rustix::fs::fstat(fd)
        .ok()
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// The terminal or pipe that `fd` is.
fn channel_of(fd: BorrowedFd<'_>) -> Option<Channel> {
    const DEV_TTY: (u32, u32) = (5, 0);
    match file_type(fd)? {
        FileType::CharacterDevice => {
            let device = rustix::fs::fstat(fd).ok()?.st_rdev;
            match (rustix::fs::major(device), rustix::fs::minor(device)) {
                (PTS_MAJOR, number) => Some(Channel::Terminal(number)),
                DEV_TTY => Stat::read(std::process::id())?
                    .terminal
                    .map(Channel::Terminal),
                _ => None,
            }
        }
        FileType::Fifo => {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
            Some(Channel::Pipe(link.into_os_string().into_string().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
