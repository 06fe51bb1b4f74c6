//! Relations as rows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashSet;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{CachedStatement, Connection, Row, params};

use crate::map::{Forgotten, Map, Relation, Source, Uses, direction_name};
use crate::names::escape;
use crate::record::{Direction, WallTime};

/// The tables. The key begins with what is asked for most.
pub(super) const SCHEMA: &str = "
    CREATE TABLE relation (
        direction TEXT NOT NULL,
        service TEXT NOT NULL,
        port INTEGER NOT NULL,
        peer TEXT NOT NULL,
        process TEXT NOT NULL,
        host TEXT NOT NULL,
        source TEXT NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        connections INTEGER NOT NULL,
        older INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        tx INTEGER NOT NULL,
        rx INTEGER NOT NULL,
        pid INTEGER,
        uid INTEGER,
        PRIMARY KEY (direction, service, port, peer, process, host, source)
    ) WITHOUT ROWID;
    CREATE TABLE forgotten (name TEXT NOT NULL PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
";

/// Sums stay at the largest number: SQLite would go on in floating point.
pub(super) const UPDATE: &str = "
    UPDATE relation SET
        first_seen = min(first_seen, ?8),
        last_seen = max(last_seen, ?9),
        connections = min(connections, 9223372036854775807 - ?10) + ?10,
        older = min(older, 9223372036854775807 - ?11) + ?11,
        failures = min(failures, 9223372036854775807 - ?12) + ?12,
        tx = min(tx, 9223372036854775807 - ?13) + ?13,
        rx = min(rx, 9223372036854775807 - ?14) + ?14,
        pid = CASE WHEN ?9 >= last_seen THEN coalesce(?15, pid) ELSE coalesce(pid, ?15) END,
        uid = CASE WHEN ?9 >= last_seen THEN coalesce(?16, uid) ELSE coalesce(uid, ?16) END
    WHERE direction = ?1 AND service = ?2 AND port = ?3 AND peer = ?4 AND process = ?5
        AND host = ?6 AND source = ?7";

pub(super) const INSERT: &str = "
    INSERT INTO relation (direction, service, port, peer, process, host, source, first_seen,
        last_seen, connections, older, failures, tx, rx, pid, uid)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

pub(super) const AGE: &str = "DELETE FROM relation WHERE last_seen < ?1 RETURNING connections";

pub(super) const FORGET_OLDEST: &str = "
    DELETE FROM relation
    WHERE (direction, service, port, peer, process, host, source) IN (
        SELECT direction, service, port, peer, process, host, source FROM relation
        ORDER BY last_seen LIMIT ?1)
    RETURNING connections";

pub(super) const NOTE: &str = "
    INSERT INTO forgotten (name, count) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE
    SET count = min(count, 9223372036854775807 - excluded.count) + excluded.count";

const ALL: &str = "
    SELECT direction, service, port, peer, process, host, source, first_seen, last_seen,
        connections, older, failures, tx, rx, pid, uid
    FROM relation";

/// SQLite has no unsigned numbers.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Runs [`UPDATE`] or [`INSERT`]; returns how many rows that changed.
pub(super) fn execute(
    statement: &mut CachedStatement<'_>,
    relation: &Relation,
    uses: &Uses,
) -> rusqlite::Result<usize> {
    let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let service = relation.service;
    statement.execute(params![
        direction_name(relation.direction),
        text(service.map(|service| service.ip())),
        service.map_or(0, |service| service.port()),
        text(relation.peer),
        relation.process.as_deref().unwrap_or_default(),
        &*relation.host,
        relation.source.name(),
        uses.first_seen.0,
        uses.last_seen.0,
        signed(uses.connections),
        signed(uses.older),
        signed(uses.failures),
        signed(uses.tx),
        signed(uses.rx),
        uses.pid,
        uses.uid,
    ])
}

/// Everything, in no order.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Map> {
    // Both tables as they are at the same moment.
    let transaction = connection.unchecked_transaction()?;
    read_rows(&transaction)
}

pub(super) fn read_rows(connection: &Connection) -> rusqlite::Result<Map> {
    let mut map = Map::default();
    let mut hosts = HashSet::new();
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        map.relations.push(relation(row, &mut hosts)?);
    }
    map.forgotten = forgotten(connection)?;
    Ok(map)
}

fn forgotten(connection: &Connection) -> rusqlite::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    let mut statement = connection.prepare_cached("SELECT name, count FROM forgotten")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        for (known, count) in forgotten.counts_mut() {
            if known == name {
                *count = row.get(1)?;
            }
        }
    }
    Ok(forgotten)
}

fn relation(row: &Row<'_>, hosts: &mut HashSet<Arc<str>>) -> rusqlite::Result<(Relation, Uses)> {
    let port = row.get(2)?;
    let service = address(row, 1)?.map(|ip| SocketAddr::new(ip, port));
    let host = visible(row.get_ref(5)?.as_str()?);
    let host = hosts.get_or_insert_with(&*host, |host| Arc::from(host));
    let process = visible(row.get_ref(4)?.as_str()?);
    let relation = Relation {
        host: Arc::clone(host),
        direction: named(
            row,
            0,
            &[Direction::Inbound, Direction::Outbound],
            direction_name,
        )?,
        service,
        peer: address(row, 3)?,
        process: (!process.is_empty()).then_some(process),
        source: named(row, 6, &Source::ALL, Source::name)?,
    };
    let uses = Uses {
        first_seen: WallTime(row.get(7)?),
        last_seen: WallTime(row.get(8)?),
        connections: row.get(9)?,
        older: row.get(10)?,
        failures: row.get(11)?,
        tx: row.get(12)?,
        rx: row.get(13)?,
        pid: row.get(14)?,
        uid: row.get(15)?,
    };
    Ok((relation, uses))
}

/// As it is, unless it holds what escaping would not have left.
fn visible(text: &str) -> CompactString {
    let without_escapes = text.replace('\\', " ");
    if escape(without_escapes.as_bytes()) == without_escapes {
        text.into()
    } else {
        escape(text.as_bytes())
    }
}

fn address(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<IpAddr>> {
    let text = row.get_ref(index)?.as_str()?;
    if text.is_empty() {
        return Ok(None);
    }
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| Some(ip.to_canonical()))
        .map_err(|error| unreadable(index, error.into()))
}

fn named<T: Copy>(
    row: &Row<'_>,
    index: usize,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let text = row.get_ref(index)?.as_str()?;
    let found = all.iter().copied().find(|it| name(*it) == text);
    found.ok_or_else(|| unreadable(index, FromSqlError::InvalidType.into()))
}

fn unreadable(index: usize, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error)
}
