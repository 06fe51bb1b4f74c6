//! Cgroups of the v2 hierarchy, made for a test and gone with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;

use crate::harness::PATIENCE;

/// A cgroup below the top of the hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    top: PathBuf,
    root: PathBuf,
    _mounted: Option<TempDir>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cgroup {
    /// Makes one. Where the hierarchy is not mounted, it is for this thread and what it starts.
    pub fn new() -> Self {
        let (root, mounted) = if let Some(root) = mounted() {
            (root, None)
        } else {
            let place = mount_for_this_thread();
            (place.path().to_owned(), Some(place))
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("conntracer-test-{}-{number}", std::process::id());
        let top = root.join(name);
        fs::create_dir(&top).expect("a cgroup");
        Self {
            top,
            root,
            _mounted: mounted,
        }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.top
    }

    /// Its path as `/proc/PID/cgroup` has it.
    pub fn path(&self) -> String {
        let below = self.top.strip_prefix(&self.root).expect("below the root");
        format!("/{}", below.display())
    }

    /// Makes one below it, and all in between.
    pub fn make(&self, name: &str) {
        fs::create_dir_all(self.top.join(name)).expect("a cgroup");
    }

    /// Moves a process into one below it, or into itself.
    pub fn take(&self, name: &str, pid: u32) {
        let file = self.top.join(name).join("cgroup.procs");
        fs::write(&file, pid.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Default for Cgroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What ended a moment ago may still be in it.
        let since = Instant::now();
        while !remove(&self.top) && since.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Removes a cgroup and all below it, the lowest first.
fn remove(directory: &Path) -> bool {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(directory).is_ok()
}

fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mounts");
    let place = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let kind = fields.iter().position(|field| *field == "-")? + 1;
        (*fields.get(kind)? == "cgroup2").then(|| PathBuf::from(fields[4]))
    };
    mounts.lines().find_map(place)
}

fn mount_for_this_thread() -> TempDir {
    // SAFETY: only the thread's mounts change; no descriptor table is shared anew.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("mounts of its own");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    let place = TempDir::new().expect("a temporary directory");
    mount("none", place.path(), "cgroup2", MountFlags::empty(), None).expect("mounting cgroup2");
    place
}
