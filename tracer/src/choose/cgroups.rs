//! The cgroups of paths, systemd units and containers, as ids that the kernel side compares.
//!
//! Only of the v2 hierarchy, which every process is in, also where controllers are still in v1. The
//! id of a cgroup is the inode number of its directory.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::process::cgroup::mount_point;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A directory, or what `/proc/PID/cgroup` says after `0::`.
    Path(PathBuf),
    /// A systemd unit, with its suffix.
    Unit(String),
    /// A container, by the beginning of its id.
    Container(String),
}

/// Fewest digits of a container's id: as many as `docker ps` shows.
const FEWEST_DIGITS: usize = 12;
/// Digits of a whole id, with all usual runtimes.
const DIGITS: usize = 64;
/// Directories looked at; a host with thousands of containers has some ten thousand.
const MAX_DIRECTORIES: usize = 1 << 20;

/// Why an option is refused.
#[derive(Debug, thiserror::Error)]
#[error("{option} {}: {problem}", .value.escape_debug())]
pub struct CgroupError {
    option: &'static str,
    value: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("not a name of a unit; write such as nginx.service, or nginx for short")]
    NotAUnit,
    #[error(
        "not the id of a container: write at least its first {FEWEST_DIGITS} hexadecimal digits, \
         which `docker ps`, `podman ps` and `crictl ps` show"
    )]
    NotAContainer,
    #[error(
        "no cgroup v2 hierarchy is mounted here; `mount -t cgroup2 none DIRECTORY` mounts it, and \
         systemd does"
    )]
    NoHierarchy,
    #[error("cannot be looked at: {0}")]
    Io(#[from] io::Error),
    #[error(
        "`{}` is no directory of the cgroup v2 hierarchy, which is mounted at {}",
        .0.to_string_lossy().escape_debug(), .1.display()
    )]
    NotACgroup(PathBuf, PathBuf),
    #[error("no cgroup of that name below {}: it does not run; `systemctl status` tells", .0.display())]
    NoSuchUnit(PathBuf),
    #[error(
        "no cgroup of that container below {}: it does not run, or is in no cgroup v2 of its own",
        .0.display()
    )]
    NoSuchContainer(PathBuf),
    #[error("fits several containers; write more of its id")]
    Ambiguous,
}

/// Some cgroups, each with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    wanted: Vec<Wanted>,
    ids: Vec<u64>,
}

impl Wanted {
    /// A unit; without a suffix it is a service.
    pub fn unit(text: &str) -> Result<Self, CgroupError> {
        const KINDS: [&str; 11] = [
            ".service",
            ".scope",
            ".slice",
            ".socket",
            ".mount",
            ".automount",
            ".swap",
            ".target",
            ".device",
            ".timer",
            ".path",
        ];
        let text = text.trim();
        if matches!(text, "" | "." | "..") || text.contains(['/', '\0']) {
            return Err(refused("--unit", text, Problem::NotAUnit));
        }
        let is_whole = KINDS.iter().any(|kind| text.ends_with(kind));
        let suffix = if is_whole { "" } else { ".service" };
        Ok(Self::Unit(format!("{text}{suffix}")))
    }

    /// A container.
    pub fn container(text: &str) -> Result<Self, CgroupError> {
        let id = text.trim().to_ascii_lowercase();
        let fits = (FEWEST_DIGITS..=DIGITS).contains(&id.len());
        if fits && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Container(id));
        }
        Err(refused("--container", text, Problem::NotAContainer))
    }

    fn refused(&self, problem: Problem) -> CgroupError {
        match self {
            Self::Path(path) => refused("--cgroup", &path.to_string_lossy(), problem),
            Self::Unit(name) => refused("--unit", name, problem),
            Self::Container(id) => refused("--container", id, problem),
        }
    }
}

fn refused(option: &'static str, value: &str, problem: Problem) -> CgroupError {
    CgroupError {
        option,
        value: value.to_owned(),
        problem,
    }
}

impl Cgroups {
    /// Finds them all.
    pub fn find(wanted: Vec<Wanted>) -> Result<Self, CgroupError> {
        let Some(first) = wanted.first() else {
            return Ok(Self::default());
        };
        let root = root().ok_or_else(|| first.refused(Problem::NoHierarchy))?;
        Self::find_in(&root, wanted)
    }

    fn find_in(root: &Path, wanted: Vec<Wanted>) -> Result<Self, CgroupError> {
        let mut ids = Vec::new();
        let by_name = |wanted: &Wanted| !matches!(wanted, Wanted::Path(_));
        let tree = if wanted.iter().any(by_name) {
            directories(root)
        } else {
            Vec::new()
        };
        for one in &wanted {
            let found = match one {
                Wanted::Path(path) => directory(root, path),
                Wanted::Unit(name) => units(root, &tree, name),
                Wanted::Container(id) => containers(root, &tree, id),
            };
            let found = found.map_err(|problem| one.refused(problem))?;
            for directory in found {
                let metadata = fs::metadata(directory);
                let metadata = metadata.map_err(|error| one.refused(error.into()))?;
                ids.push(metadata.ino());
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Self { wanted, ids })
    }

    /// As they are now: a unit that was started again is another cgroup.
    pub fn again(&self) -> Result<Self, CgroupError> {
        Self::find(self.wanted.clone())
    }

    /// Whether none was asked for.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Their ids, each once.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }
}

/// Where the hierarchy is mounted.
fn root() -> Option<PathBuf> {
    mount_point(&fs::read("/proc/self/mountinfo").ok()?)
}

/// All below `root`. What goes away meanwhile is none of them.
fn directories(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![root.to_owned()];
    while let Some(directory) = next.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if found.len() < MAX_DIRECTORIES && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
                next.push(entry.path());
            }
        }
    }
    found
}

fn directory(root: &Path, path: &Path) -> Result<Vec<PathBuf>, Problem> {
    // As a directory, or from the top of the hierarchy on.
    let below = root.join(path.strip_prefix("/").unwrap_or(path));
    let chosen = if path.starts_with(root) { path } else { &below };
    let wrong = || Problem::NotACgroup(chosen.to_owned(), root.to_owned());
    match rustix::fs::statfs(chosen) {
        Ok(found) if is_cgroup2(&found) && chosen.is_dir() => Ok(vec![chosen.to_owned()]),
        Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(wrong()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

fn is_cgroup2(found: &rustix::fs::StatFs) -> bool {
    const MAGIC: u64 = 0x6367_7270;
    u64::try_from(found.f_type).is_ok_and(|kind| kind == MAGIC)
}

fn name_of(directory: &Path) -> &[u8] {
    directory.file_name().unwrap_or_default().as_bytes()
}

/// The same name can be the system's and users'.
fn units(root: &Path, tree: &[PathBuf], name: &str) -> Result<Vec<PathBuf>, Problem> {
    let is_it = |directory: &&PathBuf| name_of(directory) == name.as_bytes();
    let found: Vec<_> = tree.iter().filter(is_it).cloned().collect();
    if found.is_empty() {
        return Err(Problem::NoSuchUnit(root.to_owned()));
    }
    Ok(found)
}

fn containers(root: &Path, tree: &[PathBuf], start: &str) -> Result<Vec<PathBuf>, Problem> {
    let mut whole = None;
    let mut found = Vec::new();
    for directory in tree {
        let Some(id) = container(name_of(directory)).filter(|id| id.starts_with(start)) else {
            continue;
        };
        if whole.is_some_and(|whole| whole != id) {
            return Err(Problem::Ambiguous);
        }
        whole = Some(id);
        found.push(directory.clone());
    }
    if found.is_empty() {
        return Err(Problem::NoSuchContainer(root.to_owned()));
    }
    Ok(found)
}

/// The id in the name of a container's cgroup: `docker-ID.scope`, `libpod-ID.scope`,
/// `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-payload-ID`, or only `ID`. What looks after it,
/// `…-conmon-ID.scope`, is not it.
fn container(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    let is_id = id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !runtime.ends_with("conmon")).then_some(id)
}

#[cfg(test)]
mod tests;
