//! Which path a cgroup of version 2 has.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cgroup;
use super::generations::Generations;
use crate::names::escape;

/// Cgroups that are remembered: between once and twice as many,
const MAX_KNOWN: usize = 4096;
/// if their paths take no more bytes than this.
const MAX_BYTES: usize = 1 << 20;

/// Finds the paths of cgroups by their ids, and remembers them: ids are not used again, and a cgroup
/// of a container is removed with it.
#[derive(Debug)]
pub struct Cgroups {
    mount: Option<Mount>,
    known: Generations<u64, Option<Arc<str>>>,
}

/// Where cgroups of version 2 are mounted.
#[derive(Debug)]
struct Mount {
    path: PathBuf,
    root: File,
}

impl Cgroups {
    /// Those of this host.
    pub fn of_this_host() -> Self {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let mount = cgroup::mount_point(&mounts).and_then(|path| {
            let root = File::open(&path).ok()?;
            Some(Mount { path, root })
        });
        Self {
            mount,
            known: Generations::new(MAX_KNOWN, MAX_BYTES),
        }
    }

    /// The path of the cgroup below where they are mounted; `None` if it is gone, or may not be asked
    /// for.
    pub fn path(&mut self, id: u64) -> Option<Arc<str>> {
        if let Some(path) = self.known.get(&id) {
            return path.clone();
        }
        let path = match self.mount.as_ref()?.find(id) {
            Ok(path) => path.map(|path| escape(&path).as_str().into()),
            // Without the right to, processes may tell.
            Err(NotAllowed) => return None,
        };
        self.keep(id, path)
    }

    /// A process says that this is its path.
    pub fn learn(&mut self, id: u64, path: &[u8]) -> Option<Arc<str>> {
        let mount = self.mount.as_ref()?;
        let below = path.strip_prefix(b"/").unwrap_or(path);
        let place = mount.path.join(std::ffi::OsStr::from_bytes(below));
        // It may have moved since.
        if fs::metadata(place).ok()?.ino() != id {
            return None;
        }
        self.keep(id, Some(escape(path).as_str().into()))
    }

    fn keep(&mut self, id: u64, path: Option<Arc<str>>) -> Option<Arc<str>> {
        let bytes = path.as_ref().map_or(0, |path| path.len());
        self.known.insert(id, path.clone(), bytes);
        path
    }
}

/// Only `CAP_DAC_READ_SEARCH` may open a file by its id.
struct NotAllowed;

impl Mount {
    fn find(&self, id: u64) -> Result<Option<Vec<u8>>, NotAllowed> {
        let Some(found) = self.open(id)? else {
            return Ok(None);
        };
        let path = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()));
        let Ok(path) = path else { return Ok(None) };
        Ok(path.strip_prefix(&self.path).ok().map(below_root))
    }

    fn open(&self, id: u64) -> Result<Option<OwnedFd>, NotAllowed> {
        /// `struct file_handle` with the id of a file in a pseudo file system, `FILEID_KERNFS`.
        #[repr(C)]
        struct Handle {
            bytes: u32,
            kind: i32,
            id: [u8; 8],
        }
        let mut handle = Handle {
            bytes: 8,
            kind: 0xfe,
            id: id.to_ne_bytes(),
        };
        // SAFETY: the handle is a `struct file_handle` of as many bytes as it says, and outlives the
        // call.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.root.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if fd >= 0 {
            // SAFETY: the call returned a new descriptor.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EPERM) => Err(NotAllowed),
            _ => Ok(None),
        }
    }
}

/// With a slash before it.
fn below_root(path: &Path) -> Vec<u8> {
    [b"/", path.as_os_str().as_bytes()].concat()
}
