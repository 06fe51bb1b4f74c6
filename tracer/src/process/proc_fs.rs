//! What `/proc/PID` says of a process while it lives.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};

use super::cgroup;
use crate::carrier::stat::Stat;
use crate::carrier::ticks;
use crate::names::escape;
use crate::record::ProcessName;

/// Inode number of the initial pid namespace, fixed in the kernel.
const INITIAL: u64 = 4_026_531_836;
/// Bytes of a file that are read at most.
const MAX_TEXT: u64 = 64 << 10;

/// Whether process ids here are those of the initial pid namespace, which the kernel side uses.
pub fn in_initial_namespace() -> io::Result<bool> {
    Ok(std::fs::metadata("/proc/self/ns/pid")?.ino() == INITIAL)
}

/// `/proc`, if it may be asked.
#[derive(Clone, Copy, Debug)]
pub struct ProcFs {
    is_asked: bool,
}

/// A process that lives, or lived when it was looked for. A descriptor of its directory is of this one,
/// whoever gets its number later.
#[derive(Debug)]
pub struct Alive(OwnedFd);

impl ProcFs {
    /// The one that is mounted here.
    pub fn here() -> Self {
        Self { is_asked: true }
    }

    /// The same if it has the numbers of the initial pid namespace; else those are other processes
    /// there, and it is never asked.
    pub fn of_initial_namespace() -> Self {
        let own = std::fs::read_link("/proc/self");
        let own = own.ok().and_then(|link| link.to_str()?.parse().ok());
        Self {
            is_asked: in_initial_namespace().unwrap_or(false) && own == Some(std::process::id()),
        }
    }

    /// Whether its numbers are those that were wanted.
    pub fn is_asked(self) -> bool {
        self.is_asked
    }

    /// The process with this number and start.
    pub fn process(self, pid: u32, start_ns: u64) -> Option<Alive> {
        if !self.is_asked {
            return None;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).ok()?;
        let alive = Alive(directory);
        (alive.stat()?.start == ticks(start_ns)).then_some(alive)
    }
}

impl Alive {
    fn stat(&self) -> Option<Stat> {
        Stat::parse(&String::from_utf8_lossy(&self.read("stat", MAX_TEXT)?))
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(self.0.as_fd(), name, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        let mut file = std::fs::File::from(file).take(most);
        file.read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// Its command line, and whether there is more of it than `most` bytes.
    pub fn command(&self, most: usize) -> Option<(Vec<u8>, bool)> {
        let mut text = self.read("cmdline", most as u64 + 1)?;
        let is_cut = text.len() > most;
        text.truncate(most);
        Some((text, is_cut))
    }

    /// Path of its program.
    pub fn exe(&self) -> Option<Vec<u8>> {
        let link = readlinkat(self.0.as_fd(), "exe", Vec::new()).ok()?;
        Some(link.into_bytes())
    }

    /// Its parent.
    pub fn parent(&self) -> Option<ProcessName> {
        let pid = self.stat()?.parent;
        let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
        let name = escape(name.strip_suffix(b"\n").unwrap_or(&name));
        Some(ProcessName { pid, name })
    }

    /// Its number in its own pid namespace, if that is another one.
    pub fn ns_pid(&self) -> Option<u32> {
        let status = self.read("status", MAX_TEXT)?;
        namespaced(&String::from_utf8_lossy(&status))
    }

    /// The lines of the cgroups that it is in.
    pub fn cgroups(&self) -> Option<cgroup::Lines> {
        self.read("cgroup", MAX_TEXT).map(cgroup::Lines::new)
    }
}

/// The last number of the line `NSpid`, if there are several.
fn namespaced(status: &str) -> Option<u32> {
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().skip(1).last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::nanoseconds;

    #[test]
    fn this_process_is_found_with_its_start_only() {
        let pid = std::process::id();
        let start_ns = nanoseconds(Stat::read(pid).unwrap().start);
        let proc_fs = ProcFs::here();
        assert!(proc_fs.process(pid, start_ns + 50_000_000).is_none());
        assert!(proc_fs.process(0, start_ns).is_none());
        let alive = proc_fs.process(pid, start_ns + 1).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(alive.exe().unwrap(), exe.as_os_str().as_encoded_bytes());
        let (command, is_cut) = alive.command(1 << 20).unwrap();
        let first = std::env::args().next().unwrap();
        assert!(command.starts_with(first.as_bytes()) && !is_cut);
        assert_eq!(alive.command(3), Some((command[..3].to_vec(), true)));
        let parent = std::os::unix::process::parent_id();
        assert_eq!(alive.parent().map(|it| it.pid), Some(parent));
        assert!(alive.cgroups().is_some());
    }

    #[test]
    fn the_innermost_number_counts_if_there_are_several() {
        assert_eq!(
            namespaced("Name:\tx\nNSpid:\t77\t5\t1\nNSpgid:\t0\n"),
            Some(1)
        );
        assert_eq!(namespaced("NSpid:\t77\n"), None);
        assert_eq!(namespaced("Name:\tx\n"), None);
    }
}
