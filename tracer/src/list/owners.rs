//! Who has which socket open, by the descriptors of all processes in `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::socket::{Holder, Socket};
use crate::carrier::stat::Stat;
use crate::carrier::{nanoseconds, pids};
use crate::names;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By inode number of the socket, the oldest process first.
    holders: HashMap<u32, Vec<Holder>>,
    /// Processes whose descriptors could not be looked at.
    pub(super) denied: usize,
}

/// Looks for these sockets, by inode number, in every process. A process that ends meanwhile has
/// none.
pub(super) fn find(wanted: &HashSet<u32>) -> Owners {
    let mut owners = Owners::default();
    let mut found: HashMap<u32, Vec<(u64, Holder)>> = HashMap::new();
    // With nothing to look for, nothing is looked at.
    for pid in pids().take_while(|_| !wanted.is_empty()) {
        match sockets_of(pid, wanted) {
            Ok(inodes) if !inodes.is_empty() => {
                let start = Stat::read(pid).map_or(u64::MAX, |stat| stat.start);
                let name = name_of(pid);
                for inode in inodes {
                    let name = name.clone();
                    let holders = found.entry(inode).or_default();
                    let start_ns = if start == u64::MAX {
                        0
                    } else {
                        nanoseconds(start)
                    };
                    let holder = Holder {
                        pid,
                        name,
                        start_ns,
                    };
                    holders.push((start, holder));
                }
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => owners.denied += 1,
            _ => {}
        }
    }
    owners.holders = found
        .into_iter()
        .map(|(inode, mut holders)| {
            holders.sort_by_key(|(start, holder)| (*start, holder.pid));
            let holders = holders.into_iter().map(|(_, holder)| holder);
            (inode, holders.collect())
        })
        .collect();
    owners
}

impl Owners {
    /// Tells `socket` who has it open.
    pub(super) fn give(&self, socket: &mut Socket) {
        let holders = socket.inode.and_then(|inode| self.holders.get(&inode));
        socket.holders = holders.cloned().unwrap_or_default();
    }
}

/// Those of `wanted` that process `pid` has open.
fn sockets_of(pid: u32, wanted: &HashSet<u32>) -> io::Result<HashSet<u32>> {
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may be closed by now, but denied is denied for all of them.
        match fs::read_link(entry?.path()) {
            Ok(link) => inodes.extend(inode_in(&link).filter(|inode| wanted.contains(inode))),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            Err(_) => {}
        }
    }
    Ok(inodes)
}

/// `socket:[12345]`.
fn inode_in(link: &Path) -> Option<u32> {
    let link = link.to_str()?;
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn name_of(pid: u32) -> compact_str::CompactString {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    // One line end is the file's; any other is part of the name.
    names::escape(name.strip_suffix(b"\n").unwrap_or(&name))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::list::socket::samples;

    #[test]
    fn only_sockets_have_the_inode_of_one() {
        assert_eq!(inode_in(Path::new("socket:[4294967295]")), Some(u32::MAX));
        for link in [
            "socket:[]",
            "socket:[4294967296]",
            "pipe:[7]",
            "/tmp/socket:[7]",
            "socket:[7",
            "",
        ] {
            assert_eq!(inode_in(Path::new(link)), None, "{link}");
        }
    }

    #[test]
    fn this_process_has_its_own_socket_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = inode_in(&link).unwrap();
        let owners = find(&HashSet::from([inode]));
        let mut socket = samples::listener("127.0.0.1:1");
        socket.inode = Some(inode);
        owners.give(&mut socket);
        // A child of another test may have it, too, between fork and exec.
        let ours = socket
            .holders
            .iter()
            .find(|holder| holder.pid == std::process::id());
        assert_eq!(ours.unwrap().name, name_of(std::process::id()));
        socket.inode = None;
        owners.give(&mut socket);
        assert!(socket.holders.is_empty());
    }

    #[test]
    fn nothing_is_looked_at_for_nothing() {
        let owners = find(&HashSet::new());
        assert!(owners.holders.is_empty() && owners.denied == 0);
    }
}
