//! The network namespaces of this host: those of processes, and those with a name.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps namespaces that may have no process.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Its inode number.
    pub inode: u32,
    /// How to enter it; `None` for our own.
    pub file: Option<File>,
}

impl Namespace {
    /// Makes it that of the calling thread, for good.
    pub fn enter(&self) -> rustix::io::Result<()> {
        match &self.file {
            Some(file) => move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)),
            None => Ok(()),
        }
    }
}

/// Our own first, then the others; only those in `wanted`, by inode number, unless it is empty.
/// What cannot be opened is left out.
pub fn all(wanted: &[u32]) -> Vec<Namespace> {
    let wanted = |inode: u32| wanted.is_empty() || wanted.contains(&inode);
    let own = fs::metadata("/proc/self/ns/net")
        .ok()
        .and_then(|meta| inode(&meta));
    let mut seen: HashSet<u32> = own.into_iter().collect();
    let mut found: Vec<Namespace> = own
        .filter(|own| wanted(*own))
        .map(|inode| Namespace { inode, file: None })
        .into_iter()
        .collect();
    for path in processes().chain(NAMED.into_iter().flat_map(entries)) {
        let Some(inode) = fs::metadata(&path).ok().and_then(|meta| inode(&meta)) else {
            continue;
        };
        if !seen.contains(&inode)
            && wanted(inode)
            && let Ok(file) = File::open(&path)
        {
            seen.insert(inode);
            found.push(Namespace {
                inode,
                file: Some(file),
            });
        }
    }
    found
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    entries("/proc")
        .filter(is_process)
        .map(|path| path.join("ns/net"))
}

fn entries(folder: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(Path::new(folder)).into_iter().flatten();
    entries.flatten().map(|entry| entry.path())
}

/// Only files of nsfs are namespaces; a stale name is an empty file.
fn inode(meta: &fs::Metadata) -> Option<u32> {
    u32::try_from(meta.ino()).ok().filter(|_| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_comes_first_and_once() {
        let all = all(&[]);
        assert!(all[0].file.is_none());
        let own = all
            .iter()
            .filter(|namespace| namespace.inode == all[0].inode);
        assert_eq!(own.count(), 1);
    }

    #[test]
    fn what_is_not_wanted_is_not_opened() {
        assert!(all(&[u32::MAX]).is_empty());
    }
}
