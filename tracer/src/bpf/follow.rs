//! The kernel side's list of the processes that are followed.

use std::io;

use aya::Ebpf;
use aya::maps::MapError;
use tracer_common::follow::ANY_START;
use tracer_common::map;

use super::batch::Cursor;
use super::table::Table;
use super::undisturbed::MapCalls;

/// A handle to it. From the moment that a process is in it the kernel side adds those that it starts,
/// and takes out those that are gone.
pub struct Followed {
    table: Table<u32, u64, 4, 8>,
    calls: MapCalls,
}

impl Followed {
    pub(super) fn take(ebpf: &mut Ebpf, calls: MapCalls) -> Result<Self, MapError> {
        let found = ebpf.take_map(map::FOLLOWED);
        let table = found.ok_or_else(|| MapError::InvalidName {
            name: map::FOLLOWED.to_owned(),
        })?;
        Ok(Self {
            table: Table::new(table)?,
            calls,
        })
    }

    /// Follows a process, which is there.
    pub fn insert(&mut self, pid: u32) -> io::Result<()> {
        let _undisturbed = self.calls.undisturbed();
        self.table
            .insert(&pid, &ANY_START)
            .map_err(io::Error::other)
    }

    /// Follows it no more.
    pub fn remove(&mut self, pid: u32) {
        let _undisturbed = self.calls.undisturbed();
        self.table.remove(&pid);
    }

    /// Those that are followed now. One that is gone may still be among them.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let _undisturbed = self.calls.undisturbed();
        let mut pids = Vec::new();
        let mut cursor = Cursor::new();
        while self.table.next(&mut cursor, |pid, _| pids.push(pid))? {}
        Ok(pids)
    }
}
