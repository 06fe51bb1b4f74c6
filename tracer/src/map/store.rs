//! The map in a file: an SQLite database, because it survives a crash at any moment, is read while it
//! is written, is kept compatible for decades, and can be opened by everybody's tools. Nobody else
//! here knows SQLite.
//!
//! Addresses are text and times nanoseconds since 1970. An unknown address or process is an empty
//! text.

mod error;
mod lock;
mod open;
mod rows;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::delta::Delta;
use super::options::Limits;
use super::{Forgotten, Map, Relation, Source, Uses};
use crate::record::{Direction, WallTime};
pub use error::StoreError;
use lock::WriterLock;

/// Ageing reads every relation, so it is done that many times in the life of one, and once an hour.
const AGEINGS: u32 = 16;
const LONGEST_AGEING: Duration = Duration::from_hours(1);
/// What is forgotten at a time where there are too many: finding them reads every relation, too.
const SHARE: u64 = 16;

/// A map that this process, and no other, writes.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    limits: Limits,
    /// How many there are.
    relations: u64,
    aged: Option<WallTime>,
    /// Absent in memory.
    _lock: Option<WriterLock>,
}

impl Store {
    /// Opens the map `path` to write to, and makes it (mode 0600) if it is missing.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let path = open::resolve(path)?;
        open::check_header(&path, open::Missing::IsNew)?;
        let lock = WriterLock::take(&path)?;
        let connection = open::writer(&path)?;
        Self::new(connection, path, limits, Some(lock))
    }

    /// A map that goes away with this process.
    pub fn in_memory(limits: Limits) -> Result<Self, StoreError> {
        let path = PathBuf::from("(memory)");
        let connection = open::in_memory().map_err(|error| StoreError::sql(&path, error))?;
        Self::new(connection, path, limits, None)
    }

    fn new(
        connection: Connection,
        path: PathBuf,
        limits: Limits,
        lock: Option<WriterLock>,
    ) -> Result<Self, StoreError> {
        let relations = count(&connection).map_err(|error| StoreError::sql(&path, error))?;
        Ok(Self {
            connection,
            path,
            limits,
            relations,
            aged: None,
            _lock: lock,
        })
    }

    /// Adds what is new, all or nothing, and forgets what is beyond the limits at the time `now`.
    pub fn merge(&mut self, delta: &Delta, now: WallTime) -> Result<(), StoreError> {
        self.write(|store, transaction| {
            let inserted = add(transaction, delta.iter())?;
            let mut forgotten = delta.forgotten;
            let mut relations = store.relations + inserted;
            let mut aged_at = store.aged;
            if let Some(forget) = store.limits.forget
                && is_due(forget, store.aged, now)
            {
                let aged = age(transaction, before(now, forget))?;
                forgotten.aged_relations += aged.relations;
                forgotten.aged_connections += aged.connections;
                relations = relations.saturating_sub(aged.relations);
                aged_at = Some(now);
            }
            let most = store.limits.max_relations;
            if relations > most {
                let room = relations - (most - most / SHARE);
                let capped = forget_oldest(transaction, room)?;
                forgotten.capped_relations += capped.relations;
                forgotten.capped_connections += capped.connections;
                relations = relations.saturating_sub(capped.relations);
            }
            note(transaction, forgotten)?;
            Ok((relations, aged_at))
        })
    }

    /// Adds addresses of which nothing else is known, all or nothing. Returns how many are new.
    pub fn import(
        &mut self,
        addresses: &[IpAddr],
        host: &Arc<str>,
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let before = self.relations;
        let relations = addresses.iter().map(|ip| Relation {
            host: Arc::clone(host),
            direction: Direction::Inbound,
            service: None,
            peer: Some(ip.to_canonical()),
            process: None,
            source: Source::Imported,
        });
        let relations: Vec<_> = relations.collect();
        let most = self.limits.max_relations;
        let error = StoreError::TooMany {
            path: self.path.clone(),
            room: most.saturating_sub(before),
            count: addresses.len() as u64,
        };
        let mut is_too_many = false;
        let result = self.write(|store, transaction| {
            let uses = Uses::at(now);
            let inserted = add(transaction, relations.iter().map(|it| (it, uses)))?;
            let relations = store.relations + inserted;
            if inserted > 0 && relations > most {
                is_too_many = true;
                // Takes everything back.
                return Err(rusqlite::Error::ExecuteReturnedResults);
            }
            Ok((relations, store.aged))
        });
        match result {
            Err(_) if is_too_many => Err(error),
            result => result.map(|()| self.relations - before),
        }
    }

    /// Everything that is in it.
    pub fn read(&self) -> Result<Map, StoreError> {
        rows::read(&self.connection).map_err(|error| self.explain(error))
    }

    /// Does `work` as one transaction; it returns what the store is then.
    fn write(
        &mut self,
        work: impl FnOnce(&Self, &Transaction<'_>) -> rusqlite::Result<(u64, Option<WallTime>)>,
    ) -> Result<(), StoreError> {
        let done = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let done = work(self, &transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        (self.relations, self.aged) = done.map_err(|error| self.explain(error))?;
        Ok(())
    }

    #[cfg(test)]
    fn read_inside(&self, connection: &Connection) -> Result<Map, StoreError> {
        rows::read_rows(connection).map_err(|error| self.explain(error))
    }

    /// Has every save fail, or not any more.
    #[cfg(test)]
    pub(crate) fn break_it(&self, broken: bool) {
        let sql = format!("PRAGMA query_only = {broken}");
        self.connection.execute_batch(&sql).unwrap();
    }

    fn explain(&self, error: rusqlite::Error) -> StoreError {
        StoreError::sql(&self.path, error)
    }
}

/// Reads the map `path`, also while another process writes it. Changes nothing. Not to be called in
/// a process that has the same map open to write: closing a file releases its locks on it.
pub fn read(path: &Path) -> Result<Map, StoreError> {
    let path = open::resolve(path)?;
    open::check_header(&path, open::Missing::IsAnError)?;
    let connection = open::reader(&path)?;
    rows::read(&connection).map_err(|error| StoreError::sql(&path, error))
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM relation";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Whether ageing is due.
fn is_due(forget: Duration, last: Option<WallTime>, now: WallTime) -> bool {
    let every = (forget / AGEINGS).min(LONGEST_AGEING);
    // A clock that was set back makes it due as well.
    last.is_none_or(|last| !(before(now, every)..=now).contains(&last) || every.is_zero())
}

fn before(now: WallTime, time: Duration) -> WallTime {
    let time = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    WallTime(now.0.saturating_sub(time))
}

/// Adds relations; returns how many are new.
fn add<'a>(
    transaction: &Transaction<'_>,
    relations: impl Iterator<Item = (&'a Relation, Uses)>,
) -> rusqlite::Result<u64> {
    let mut update = transaction.prepare_cached(rows::UPDATE)?;
    let mut insert = transaction.prepare_cached(rows::INSERT)?;
    let mut inserted = 0;
    for (relation, uses) in relations {
        // In this order it is known how many are new.
        if rows::execute(&mut update, relation, &uses)? == 0 {
            rows::execute(&mut insert, relation, &uses)?;
            inserted += 1;
        }
    }
    Ok(inserted)
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default)]
struct Deleted {
    relations: u64,
    connections: u64,
}

fn age(transaction: &Transaction<'_>, since: WallTime) -> rusqlite::Result<Deleted> {
    deleted(transaction, rows::AGE, since.0)
}

fn forget_oldest(transaction: &Transaction<'_>, number: u64) -> rusqlite::Result<Deleted> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    deleted(transaction, rows::FORGET_OLDEST, number)
}

fn deleted(transaction: &Transaction<'_>, sql: &str, parameter: i64) -> rusqlite::Result<Deleted> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params![parameter])?;
    let mut deleted = Deleted::default();
    while let Some(row) = rows.next()? {
        deleted.relations += 1;
        deleted.connections = deleted.connections.saturating_add(row.get(0)?);
    }
    Ok(deleted)
}

fn note(transaction: &Transaction<'_>, mut forgotten: Forgotten) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(rows::NOTE)?;
    for (name, count) in forgotten.counts_mut() {
        if *count > 0 {
            statement.execute(params![name, rows::signed(*count)])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
