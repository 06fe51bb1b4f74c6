//! The processes beyond the owner that moved bytes of a connection.

use std::io;

use hashbrown::{HashMap, HashSet};
use tracer_common::connection::{Connection, ConnectionKey, flags};
use tracer_common::counters::Counter;
use tracer_common::users::UserKey;

use super::Collector;
use crate::bpf::snapshot::{UserRow, UsersCursor, adds_up};

impl Collector {
    /// Puts the users of a connection that is over into `rows`, and removes them from the map;
    /// nobody asks before.
    pub(super) fn take_users(&mut self, key: ConnectionKey, connection: &Connection) {
        self.rows.clear();
        if connection.last_user == 0 || !connection.is(flags::RELEASED) {
            return;
        }
        if !self.find_users(key, connection)
            && let Some(rows) = self.scan_users(key)
        {
            self.rows = rows;
        }
        self.maps.forget_users(&self.rows);
    }

    /// Puts them into `rows`; returns whether these are all.
    pub(super) fn find_users(&mut self, key: ConnectionKey, connection: &Connection) -> bool {
        self.maps.users(key, connection, &mut self.rows);
        adds_up(connection, &self.rows)
    }

    /// Puts those of an open connection into `rows`, as far as they are found at once.
    pub(super) fn look_for_users(&mut self, key: ConnectionKey, connection: &Connection) {
        self.rows.clear();
        if connection.last_user != 0 {
            self.find_users(key, connection);
        }
    }

    /// Reads the whole users map for one connection, at most once an interval, and not if rows are
    /// missing because the map was full. What is not found stays unattributed.
    fn scan_users(&mut self, key: ConnectionKey) -> Option<Vec<UserRow>> {
        if self.users_scanned || self.maps.counter(Counter::UsersFull) != 0 {
            return None;
        }
        self.users_scanned = true;
        self.users_of([key]).ok()?.remove(&key)
    }

    /// The rows of these connections, by reading the whole map.
    pub(super) fn users_of(
        &self,
        keys: impl IntoIterator<Item = ConnectionKey>,
    ) -> io::Result<HashMap<ConnectionKey, Vec<UserRow>>> {
        let keys = keys.into_iter().map(|key| (key, Vec::new()));
        let mut wanted: HashMap<_, Vec<UserRow>> = keys.collect();
        let mut cursor = UsersCursor::new();
        let mut each = |user: UserKey, totals| {
            if let Some(rows) = wanted.get_mut(&connection_of(&user)) {
                rows.push((user, totals));
            }
        };
        while self.maps.next_users(&mut cursor, &mut each)? {}
        Ok(wanted)
    }

    /// Of the next rows, removes those whose connection had no table entry an interval ago, either.
    pub(super) fn orphans(
        &mut self,
        cursor: &mut UsersCursor,
        found: &mut HashSet<ConnectionKey>,
    ) -> io::Result<bool> {
        let mut rows = Vec::new();
        let more = self
            .maps
            .next_users(cursor, |user, totals| rows.push((user, totals)))?;
        rows.retain(|(user, _)| !self.maps.has(connection_of(user)));
        rows.retain(|(user, _)| {
            let key = connection_of(user);
            let was_so_before = self.orphans.contains(&key);
            if !was_so_before {
                found.insert(key);
            }
            was_so_before
        });
        self.maps.forget_users(&rows);
        if !more {
            self.orphans = std::mem::take(found);
        }
        Ok(more)
    }
}

fn connection_of(user: &UserKey) -> ConnectionKey {
    ConnectionKey {
        sk: user.sk,
        birth_ns: user.birth_ns,
    }
}
