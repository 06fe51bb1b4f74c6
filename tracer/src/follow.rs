//! Which processes that run already are followed: those asked for, and all that they started.

use std::collections::HashSet;
use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::bpf::follow::Followed;
use crate::carrier::pids;
use crate::carrier::stat::Stat;
use crate::process::in_initial_namespace;

/// Whether process ids here are those of the kernel side.
pub fn ids_are_the_kernels() -> bool {
    // Where that cannot be read, they are taken for it.
    in_initial_namespace().unwrap_or(true)
}

/// Follows `roots` and all that they started and that still runs. To be called once the programs are
/// attached. Returns the roots that are not there.
///
/// A process whose parent is followed is found either by the kernel side or here: the kernel shows it
/// in `/proc` before it tells of its fork. If that was told after the parent was in the list, the
/// kernel side has put it there, too; if before, it is in `/proc` when the next look begins. So after a
/// look that finds nothing new there is nothing more to find. Only a process whose parent had ended
/// before anybody looked is not known to be a descendant.
pub fn tree(followed: &mut Followed, roots: &[u32]) -> io::Result<Vec<u32>> {
    let mut known = HashSet::new();
    let mut missing = Vec::new();
    for root in roots {
        if insert(followed, *root)? {
            known.insert(*root);
        } else {
            missing.push(*root);
        }
    }
    loop {
        let parents: Vec<_> = pids()
            .filter_map(|pid| Some((pid, Stat::read(pid)?.parent)))
            .collect();
        let found = descendants(&known, &parents);
        if found.is_empty() {
            return Ok(missing);
        }
        for pid in found {
            insert(followed, pid)?;
            known.insert(pid);
        }
    }
}

/// Follows a process, unless it is gone. Looking at it afterwards tells that it still had its id when
/// it got into the list; from then on the kernel side takes it out.
fn insert(followed: &mut Followed, pid: u32) -> io::Result<bool> {
    let Some(process) = open(pid) else {
        return Ok(false);
    };
    followed.insert(pid)?;
    let runs = !has_ended(&process);
    if !runs {
        followed.remove(pid);
    }
    Ok(runs)
}

/// Whether none of those that are followed runs any more.
pub fn all_ended(followed: &Followed) -> io::Result<bool> {
    let mut pids = followed.pids()?.into_iter();
    Ok(!pids.any(runs))
}

/// Whether a process is there and has not ended.
pub fn runs(pid: u32) -> bool {
    open(pid).is_some_and(|process| !has_ended(&process))
}

fn open(pid: u32) -> Option<rustix::fd::OwnedFd> {
    let pid = Pid::from_raw(pid.try_into().ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether all its threads have ended, even if nobody has waited for it yet.
fn has_ended(process: &rustix::fd::OwnedFd) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Of processes, each with its parent, those that are not known and whose parent, or one above it, is.
fn descendants(known: &HashSet<u32>, parents: &[(u32, u32)]) -> HashSet<u32> {
    let mut found = HashSet::new();
    loop {
        let before = found.len();
        for (pid, parent) in parents {
            if !known.contains(pid) && (known.contains(parent) || found.contains(parent)) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_in_any_order() {
        let known = HashSet::from([10, 11]);
        let parents = [
            (13, 12),
            (12, 11),
            (11, 10),
            (10, 1),
            (20, 1),
            (21, 20),
            (5, 13),
        ];
        assert_eq!(descendants(&known, &parents), HashSet::from([12, 13, 5]));
        let all = HashSet::from([10, 11, 12, 13, 5]);
        assert!(descendants(&all, &parents).is_empty());
        assert!(descendants(&HashSet::new(), &parents).is_empty());
    }

    #[test]
    fn a_process_that_runs_has_not_ended_and_one_that_ended_has() {
        assert!(!has_ended(&open(std::process::id()).unwrap()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = open(child.id()).unwrap();
        child.wait().unwrap();
        assert!(has_ended(&process));
        assert!(open(child.id()).is_none_or(|other| !has_ended(&other)));
        assert!(open(0).is_none());
    }
}
