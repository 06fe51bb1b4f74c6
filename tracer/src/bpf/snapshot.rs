//! Reading the kernel's tables from the user side.

use std::io;

use aya::Ebpf;
use aya::maps::{Array, MapData, MapError, PerCpuArray};
use rustix::thread::{MembarrierCommand, membarrier};
use tracer_common::config::CLOSED;
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::counters::Counter;
use tracer_common::folded::{FoldedKey, FoldedTotals};
use tracer_common::map;
use tracer_common::users::{UserKey, UserTotals};

use super::table::Table;
use super::undisturbed::MapCalls;

pub use super::batch::Cursor;

/// A further process of a connection.
pub type UserRow = (UserKey, UserTotals);

/// Where a pass over the connection table is.
pub type ConnectionsCursor = Cursor<u64, Connection>;
/// Where a pass over the late releases is.
pub type PendingCursor = Cursor<ConnectionKey, Connection>;
/// Where a pass over the users is.
pub type UsersCursor = Cursor<UserKey, UserTotals>;

/// Handles to the maps; they outlive the programs, so the last totals are read after detaching.
pub struct Maps {
    connections: Table<u64, Connection, 8, { size_of::<Connection>() }>,
    users: Table<UserKey, UserTotals, { size_of::<UserKey>() }, { size_of::<UserTotals>() }>,
    pending: Table<
        ConnectionKey,
        Connection,
        { size_of::<ConnectionKey>() },
        { size_of::<Connection>() },
    >,
    /// With and without peers.
    sums:
        [Table<FoldedKey, FoldedTotals, { size_of::<FoldedKey>() }, { size_of::<FoldedTotals>() }>;
            2],
    counters: PerCpuArray<MapData, u64>,
    epoch: Array<MapData, u32>,
    current_epoch: u32,
    calls: MapCalls,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf, calls: MapCalls) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        Ok(Self {
            connections: Table::new(take(map::CONNECTIONS)?)?,
            users: Table::new(take(map::USERS)?)?,
            pending: Table::new(take(map::PENDING)?)?,
            sums: [
                Table::new(take(map::TALLY)?)?,
                Table::new(take(map::FOLDED)?)?,
            ],
            counters: take(map::COUNTERS)?.try_into()?,
            epoch: take(map::EPOCH)?.try_into()?,
            current_epoch: CLOSED,
            calls,
        })
    }

    /// Starts the next traffic interval and returns its number. The first one opens the gate:
    /// from then on the programs count.
    pub fn advance_epoch(&mut self) -> Result<u32, MapError> {
        self.current_epoch = self.current_epoch.checked_add(1).unwrap_or(CLOSED + 1);
        let _undisturbed = self.calls.undisturbed();
        self.epoch.set(0, self.current_epoch, 0)?;
        Ok(self.current_epoch)
    }

    /// Closes the gate and waits for the programs that were running just then: after this nothing
    /// is counted, and the maps hold the state of one moment.
    pub fn close_gate(&mut self) -> Result<(), MapError> {
        self.epoch.set(0, CLOSED, 0)?;
        // Waits for an RCU grace period, and programs run inside RCU read-side sections. A kernel
        // without the command loses the guarantee, not the totals.
        let _ = membarrier(MembarrierCommand::Global);
        Ok(())
    }

    /// The number of this traffic interval.
    pub fn epoch(&self) -> u32 {
        self.current_epoch
    }

    /// The connection on a socket now, if its entry is there and complete.
    ///
    /// The kernel copies an entry without a lock. One that is removed meanwhile is used again at once,
    /// for another socket: then the copy is of that. If the socket still has its entry afterwards, it
    /// is its own.
    pub fn connection_on(&self, sk: u64) -> Option<(ConnectionKey, Connection)> {
        let connection = {
            let _undisturbed = self.calls.undisturbed();
            self.connections.get(&sk).filter(is_complete)?
        };
        let key = key(sk, &connection);
        self.has(key).then_some((key, connection))
    }

    /// The next connections of the table, at most a batch; returns whether more may follow.
    pub fn next_connections(
        &self,
        cursor: &mut ConnectionsCursor,
        mut each: impl FnMut(ConnectionKey, Connection),
    ) -> io::Result<bool> {
        let _undisturbed = self.calls.undisturbed();
        self.connections.next(cursor, |sk, connection| {
            if is_complete(&connection) {
                each(key(sk, &connection), connection);
            }
        })
    }

    /// Whether `wanted` is in the table.
    pub fn has(&self, wanted: ConnectionKey) -> bool {
        let _undisturbed = self.calls.undisturbed();
        let found = self.connections.get(&wanted.sk);
        found.is_some_and(|connection| connection.birth_ns == wanted.birth_ns)
    }

    /// Takes the next released connections that found the ring full, likewise.
    pub fn take_pending(
        &self,
        cursor: &mut PendingCursor,
        each: impl FnMut(ConnectionKey, Connection),
    ) -> io::Result<bool> {
        let _undisturbed = self.calls.undisturbed();
        self.pending.take_next(cursor, each)
    }

    /// Sums of connections that were told to nobody.
    pub fn sums(&self, mut each: impl FnMut(FoldedKey, FoldedTotals)) -> io::Result<()> {
        for table in &self.sums {
            let mut cursor = Cursor::new();
            while table.next(&mut cursor, &mut each)? {}
        }
        Ok(())
    }

    /// The processes beyond the owner that moved bytes of a connection. Two that joined at the same
    /// moment may have lost one of them; [`adds_up`] tells.
    pub fn users(&self, key: ConnectionKey, connection: &Connection, rows: &mut Vec<UserRow>) {
        let _undisturbed = self.calls.undisturbed();
        rows.clear();
        let mut tgid = connection.last_user;
        while tgid != 0 && !rows.iter().any(|(user, _)| user.tgid == tgid) {
            let user = UserKey {
                sk: key.sk,
                birth_ns: key.birth_ns,
                tgid,
                reserved: 0,
            };
            let Some(totals) = self.users.get(&user) else {
                break;
            };
            tgid = totals.next;
            rows.push((user, totals));
        }
    }

    /// Removes the rows of a connection that is over.
    pub fn forget_users(&mut self, rows: &[UserRow]) {
        let _undisturbed = self.calls.undisturbed();
        for (user, _) in rows {
            self.users.remove(user);
        }
    }

    /// The next rows of all connections, likewise.
    pub fn next_users(
        &self,
        cursor: &mut UsersCursor,
        each: impl FnMut(UserKey, UserTotals),
    ) -> io::Result<bool> {
        let _undisturbed = self.calls.undisturbed();
        self.users.next(cursor, each)
    }

    /// One loss counter, summed over all CPUs.
    pub fn counter(&self, counter: Counter) -> u64 {
        let _undisturbed = self.calls.undisturbed();
        // An array map's slots always exist; a failure here would be a kernel fault.
        self.counters
            .get(&(counter as u32), 0)
            .map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

/// Whether the rows are all there are.
pub fn adds_up(connection: &Connection, rows: &[UserRow]) -> bool {
    let sums = rows
        .iter()
        .fold((0, 0), |(tx, rx), (_, user)| (tx + user.tx, rx + user.rx));
    sums.0 >= connection.other_tx && sums.1 >= connection.other_rx
}

fn key(sk: u64, connection: &Connection) -> ConnectionKey {
    ConnectionKey {
        sk,
        birth_ns: connection.birth_ns,
    }
}

/// The birth time is written last.
fn is_complete(connection: &Connection) -> bool {
    connection.birth_ns != 0
}
