//! Who a process is: program, command line, user, parent, start, systemd unit, container, pod.
//!
//! | part | does |
//! |---|---|
//! | [`told`] | what the kernel side tells before the first connection of a process; pure |
//! | [`cgroup`] | what the path of a cgroup says; pure |
//! | [`generations`] | what is remembered, within bounds; pure |
//! | [`proc_fs`] | what `/proc/PID` says, while the process lives |
//! | [`cgroups`] | which path a cgroup has |
//! | [`users`] | what a user is called |
//!
//! The kernel side tells what only it knows of a process that is gone a millisecond later. `/proc` has
//! the rest: command lines that are too long for the kernel side, processes that are older than the
//! run, and cgroups of version 1. It is read once a process, when its first record is made.

pub mod cgroup;
pub mod cgroups;
pub mod generations;
pub mod proc_fs;
pub mod told;
pub mod users;

use std::sync::Arc;

use compact_str::CompactString;

use crate::clock;
use crate::names::escape;
use crate::record::{self, ProcessDetails};
use cgroup::Place;
use cgroups::Cgroups;
use generations::Generations;
pub use proc_fs::in_initial_namespace;
use proc_fs::{Alive, ProcFs};
use told::Told;
use users::UserNames;

/// Bytes of a command line in records: each record of a process repeats it.
pub const MAX_COMMAND: usize = 4096;

/// Processes that are remembered: between once and twice as many,
const MAX_KNOWN: usize = 4096;
/// if what they are called takes no more bytes than this.
const MAX_BYTES: usize = 4 << 20;

/// Our own process id by the numbers that the kernel side uses; `None` = it is another one there.
pub fn own_pid() -> Option<u32> {
    ProcFs::of_initial_namespace()
        .is_asked()
        .then(std::process::id)
}

/// A process for good: its number and its start.
type Key = (u32, u64);

/// Knows processes.
#[derive(Debug)]
pub struct Processes {
    proc_fs: ProcFs,
    cgroups: Cgroups,
    users: UserNames,
    known: Generations<Key, Known>,
}

#[derive(Debug)]
enum Known {
    /// It has no record yet.
    Told(Told),
    /// Records have this, and belong to this user.
    Details(u32, Arc<ProcessDetails>),
}

impl Processes {
    /// Processes by the numbers that the kernel side uses, those of the initial pid namespace.
    pub fn traced() -> Self {
        Self::of(ProcFs::of_initial_namespace())
    }

    /// Processes by the numbers that are in `/proc` here.
    pub fn of_proc() -> Self {
        Self::of(ProcFs::here())
    }

    fn of(proc_fs: ProcFs) -> Self {
        Self {
            proc_fs,
            cgroups: Cgroups::of_this_host(),
            users: UserNames::default(),
            known: Generations::new(MAX_KNOWN, MAX_BYTES),
        }
    }

    /// The kernel side tells who a process is. From now on it is that: it may have executed another
    /// program since it was told last.
    pub fn told(&mut self, told: Told) {
        let key = (told.pid, told.start_ns);
        let bytes = told.bytes();
        self.known.insert(key, Known::Told(told), bytes);
    }

    /// Adds to the record who its process is, and where its cgroup is.
    pub fn complete(&mut self, record: &mut record::Record) {
        if let Some(cgroup) = &mut record.cgroup {
            cgroup.path = self.cgroups.path(cgroup.id);
        }
        let Some(process) = &mut record.process else {
            return;
        };
        let key = (process.pid, process.start_ns);
        if let Some(Known::Details(uid, details)) = self.known.get(&key)
            && *uid == process.uid
        {
            process.details = Some(Arc::clone(details));
            return;
        }
        let path = record
            .cgroup
            .as_mut()
            .map(|cgroup| (cgroup.id, &mut cgroup.path));
        let details = match self.known.remove(&key) {
            Some(Known::Told(told)) => self.tell(process, told, path),
            Some(Known::Details(_, details)) => ProcessDetails {
                user: self.users.name(process.uid),
                ..Arc::unwrap_or_clone(details)
            },
            None => self.look(process, path),
        };
        let bytes = bytes(&details);
        let details = Arc::new(details);
        process.details = Some(Arc::clone(&details));
        let known = Known::Details(process.uid, details);
        self.known.insert(key, known, bytes);
    }

    /// A process that was told.
    fn tell(
        &mut self,
        process: &record::Process,
        mut told: Told,
        path: Option<(u64, &mut Option<Arc<str>>)>,
    ) -> ProcessDetails {
        let alive = Lazy::new(self.proc_fs, process);
        if told.command_cut
            && let Some((whole, cut)) = alive.get().and_then(|alive| alive.command(MAX_COMMAND))
            // Not if it has executed another program since.
            && whole.starts_with(&told.command)
        {
            (told.command, told.command_cut) = (whole, cut);
        }
        told.exe = told.exe.or_else(|| alive.get()?.exe());
        let place = self.place(&alive, path);
        self.details(process, told, place)
    }

    /// A process that was not told: it is older than the run, the ring was full, or nobody traces.
    fn look(
        &mut self,
        process: &record::Process,
        path: Option<(u64, &mut Option<Arc<str>>)>,
    ) -> ProcessDetails {
        let alive = Lazy::new(self.proc_fs, process);
        let command = alive.get().and_then(|alive| alive.command(MAX_COMMAND));
        let (command, command_cut) = command.unwrap_or_default();
        let found = Told {
            pid: process.pid,
            start_ns: process.start_ns,
            parent: alive.get().and_then(Alive::parent),
            ns_pid: alive.get().and_then(Alive::ns_pid),
            command,
            command_cut,
            exe: alive.get().and_then(Alive::exe),
        };
        let place = self.place(&alive, path);
        self.details(process, found, place)
    }

    /// Where it runs, by its cgroup of version 2, or else by all that it is in. What is learnt of the
    /// former on the way is kept.
    fn place(&mut self, alive: &Lazy, path: Option<(u64, &mut Option<Arc<str>>)>) -> Place {
        let known = path.as_ref().and_then(|(_, path)| path.as_deref());
        if let Some(known) = known.filter(|path| *path != "/") {
            return Place::of(known);
        }
        let Some(text) = alive.get().and_then(Alive::cgroups) else {
            return Place::default();
        };
        if let Some((id, path @ None)) = path
            && let Some(found) = cgroup::unified(&text)
        {
            *path = self.cgroups.learn(id, found);
        }
        Place::of_all(&text)
    }

    fn details(&mut self, process: &record::Process, known: Told, place: Place) -> ProcessDetails {
        ProcessDetails {
            exe: known.exe.as_deref().map(escape),
            command: told::arguments(&known.command).map(escape).collect(),
            command_cut: known.command_cut,
            user: self.users.name(process.uid),
            parent: known.parent,
            started: (process.start_ns != 0).then(|| clock::wall_time_of_boot(process.start_ns)),
            unit: place.unit,
            container: place.container,
            pod_uid: place.pod_uid,
            ns_pid: known.ns_pid,
        }
    }
}

/// A process that is looked for in `/proc` when something is missing, and then once.
struct Lazy {
    proc_fs: ProcFs,
    key: Key,
    alive: std::cell::OnceCell<Option<Alive>>,
}

impl Lazy {
    fn new(proc_fs: ProcFs, process: &record::Process) -> Self {
        Self {
            proc_fs,
            key: (process.pid, process.start_ns),
            alive: std::cell::OnceCell::new(),
        }
    }

    fn get(&self) -> Option<&Alive> {
        let (pid, start_ns) = self.key;
        let alive = self
            .alive
            .get_or_init(|| self.proc_fs.process(pid, start_ns));
        alive.as_ref()
    }
}

/// What they take beside the struct itself.
fn bytes(details: &ProcessDetails) -> usize {
    let texts = [&details.exe, &details.unit].into_iter().flatten();
    let texts = texts.chain(&details.command).map(CompactString::len);
    let each = details.command.len() * size_of::<CompactString>();
    texts.sum::<usize>() + each
}

#[cfg(test)]
mod tests;
