//! Reading the kernel's tables from the user side.

use std::io;

use aya::Ebpf;
use aya::maps::{Array, MapData, MapError, PerCpuArray};
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::counters::Counter;
use tracer_common::folded::{FoldedKey, FoldedTotals};
use tracer_common::map;
use tracer_common::users::{UserKey, UserTotals};

use super::table::Table;

/// A further process of a connection.
pub type UserRow = (UserKey, UserTotals);

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
    folded:
        Table<FoldedKey, FoldedTotals, { size_of::<FoldedKey>() }, { size_of::<FoldedTotals>() }>,
    counters: PerCpuArray<MapData, u64>,
    epoch: Array<MapData, u32>,
    current_epoch: u32,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        Ok(Self {
            connections: Table::new(take(map::CONNECTIONS)?)?,
            users: Table::new(take(map::USERS)?)?,
            pending: Table::new(take(map::PENDING)?)?,
            folded: Table::new(take(map::FOLDED)?)?,
            counters: take(map::COUNTERS)?.try_into()?,
            epoch: take(map::EPOCH)?.try_into()?,
            current_epoch: 0,
        })
    }

    /// Starts the next traffic interval and returns its number.
    pub fn advance_epoch(&mut self) -> Result<u32, MapError> {
        self.current_epoch = self.current_epoch.wrapping_add(1);
        self.epoch.set(0, self.current_epoch, 0)?;
        Ok(self.current_epoch)
    }

    /// The connection on a socket now, if there is one and its entry is complete.
    pub fn connection(&self, sk: u64) -> Option<Connection> {
        self.connections.get(&sk).filter(is_complete)
    }

    /// Every connection in the table.
    pub fn connections(&self) -> io::Result<Vec<(ConnectionKey, Connection)>> {
        let mut all = Vec::new();
        self.connections.for_each(|sk, connection| {
            if is_complete(&connection) {
                all.push((
                    ConnectionKey {
                        sk,
                        birth_ns: connection.birth_ns,
                    },
                    connection,
                ));
            }
        })?;
        Ok(all)
    }

    /// Takes the released connections that found the ring full.
    pub fn take_pending(&self) -> io::Result<Vec<(ConnectionKey, Connection)>> {
        let mut all = Vec::new();
        self.pending
            .drain(|key, connection| all.push((key, connection)))?;
        Ok(all)
    }

    /// Sums of connections that were kept nowhere else.
    pub fn folded(&self) -> io::Result<Vec<(FoldedKey, FoldedTotals)>> {
        let mut all = Vec::new();
        self.folded
            .for_each(|key, totals| all.push((key, totals)))?;
        Ok(all)
    }

    /// The processes beyond the owner that moved bytes of a connection. With `forget` their rows
    /// are removed: the connection is over.
    pub fn users(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        forget: bool,
    ) -> Vec<UserRow> {
        let mut rows = self.chain(key, connection.last_user);
        let (tx, rx) = rows
            .iter()
            .fold((0, 0), |(tx, rx), (_, user)| (tx + user.tx, rx + user.rx));
        if tx < connection.other_tx || rx < connection.other_rx {
            // Two processes joined at the same moment and one link was lost.
            rows = self.scan(key);
        }
        if forget {
            for (user, _) in &rows {
                self.users.remove(user);
            }
        }
        rows
    }

    fn chain(&self, key: ConnectionKey, last_user: u32) -> Vec<UserRow> {
        let mut rows: Vec<UserRow> = Vec::new();
        let mut tgid = last_user;
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
        rows
    }

    fn scan(&self, key: ConnectionKey) -> Vec<UserRow> {
        let mut rows = Vec::new();
        // Best effort: what cannot be read stays unattributed in the record.
        let _ = self.users.for_each(|user, totals| {
            if (user.sk, user.birth_ns) == (key.sk, key.birth_ns) {
                rows.push((user, totals));
            }
        });
        rows
    }

    /// One loss counter, summed over all CPUs.
    pub fn counter(&self, counter: Counter) -> u64 {
        // An array map's slots always exist; a failure here would be a kernel fault.
        self.counters
            .get(&(counter as u32), 0)
            .map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

/// The birth time is written last.
fn is_complete(connection: &Connection) -> bool {
    connection.birth_ns != 0
}
