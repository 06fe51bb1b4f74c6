//! Opens maps, and leaves alone what is none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FileType, Mode, OFlags};

use super::StoreError;
use super::lock::beside;
use super::rows::SCHEMA;

/// "cnmp": tells our files from those of others.
const APPLICATION: i64 = 0x636e_6d70;
/// Of [`SCHEMA`].
const VERSION: i64 = 1;

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first bytes of an SQLite database, and where in its header our numbers are.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
const VERSION_AT: usize = 60;
const APPLICATION_AT: usize = 68;

/// What a missing file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    IsNew,
    IsAnError,
}

/// `path` without symbolic links among its folders, so that none at all needs to be followed.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path
        .file_name()
        .ok_or_else(|| StoreError::NotAFile(path.to_owned()))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| StoreError::io(path, error))?;
    Ok(folder.join(name))
}

/// Whether the file can be a map of ours, judged by its first bytes: before SQLite touches it, and
/// perhaps tidies up what another program left.
pub(super) fn check_header(path: &Path, missing: Missing) -> Result<(), StoreError> {
    // NONBLOCK: the open of a FIFO must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => {
            return match missing {
                Missing::IsNew => Ok(()),
                Missing::IsAnError => Err(StoreError::Missing(path.to_owned())),
            };
        }
        Err(rustix::io::Errno::LOOP) => return Err(StoreError::Symlink(path.to_owned())),
        Err(rustix::io::Errno::NXIO) => return Err(StoreError::NotAFile(path.to_owned())),
        Err(errno) => return Err(StoreError::io(path, errno.into())),
    };
    let error = |error: io::Error| StoreError::io(path, error);
    if !file.metadata().map_err(error)?.is_file() {
        return Err(StoreError::NotAFile(path.to_owned()));
    }
    let mut header = Vec::with_capacity(HEADER);
    file.take(HEADER as u64)
        .read_to_end(&mut header)
        .map_err(error)?;
    judge(path, &header, missing)
}

fn judge(path: &Path, header: &[u8], missing: Missing) -> Result<(), StoreError> {
    if header.is_empty() && missing == Missing::IsNew {
        return Ok(());
    }
    if header.len() < HEADER || !header.starts_with(MAGIC) {
        return Err(StoreError::NotAMap(path.to_owned()));
    }
    let number = |at: usize| {
        let bytes = header[at..at + 4].try_into().unwrap_or_default();
        i64::from(u32::from_be_bytes(bytes))
    };
    check_numbers(path, number(APPLICATION_AT), number(VERSION_AT))
}

fn check_numbers(path: &Path, application: i64, version: i64) -> Result<(), StoreError> {
    if application != APPLICATION {
        return Err(StoreError::NotAMap(path.to_owned()));
    }
    match version {
        VERSION => Ok(()),
        found if found > VERSION => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        found => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: format!("there is no version {found}"),
        }),
    }
}

/// Opens a map to write to; makes it if there is none.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    create(path)?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let sql = |error| StoreError::sql(path, error);
    // Until it is known to be sound, nothing of it is changed, not even when it is closed.
    no_checkpoint(&connection, true).map_err(sql)?;
    let pages: i64 = pragma(&connection, "page_count").map_err(sql)?;
    if pages == 0 {
        make(&connection).map_err(sql)?;
    }
    check(&connection, path)?;
    let problem: String = pragma(&connection, "quick_check(1)").map_err(sql)?;
    if problem != "ok" {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: crate::names::escape(problem.as_bytes()).to_string(),
        });
    }
    let setup = || {
        no_checkpoint(&connection, false)?;
        // Where the file system does not allow it, readers wait for the writer instead.
        let _mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |it| it.get(0))?;
        // A loss of power costs what was not saved, and no more.
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;
             PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
        )
    };
    setup().map_err(sql)?;
    Ok(connection)
}

/// Opens a map to read only.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match check(&connection, path) {
        // Even readers make a file beside the map. Where they cannot, nobody writes it either, unless
        // there is something that is not yet in the map.
        Err(StoreError::Sql { .. } | StoreError::ReadOnly(_) | StoreError::Denied(_))
            if is_complete(path) =>
        {
            let connection = open_immutable(path)?;
            check(&connection, path)?;
            Ok(connection)
        }
        result => result.map(|()| connection),
    }
}

/// A map in memory.
pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    make(&connection)?;
    Ok(connection)
}

/// Whether the file alone is the whole map.
pub(super) fn is_complete(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).map_or(true, |wal| wal.len() == 0)
}

/// Makes the file if it is missing: for its owner only, which SQLite's own files beside it follow.
fn create(path: &Path) -> Result<(), StoreError> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| StoreError::io(path, errno.into()))?;
    let status = rustix::fs::fstat(&fd).map_err(|errno| StoreError::io(path, errno.into()))?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(StoreError::NotAFile(path.to_owned())),
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| StoreError::sql(path, error))?;
    connection
        .busy_timeout(PATIENCE)
        .map_err(|error| StoreError::sql(path, error))?;
    Ok(connection)
}

/// Opens a file that nobody can change.
pub(super) fn open_immutable(path: &Path) -> Result<Connection, StoreError> {
    use std::os::unix::ffi::OsStrExt;

    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            byte => uri.extend(["%", &format!("{byte:02X}")]),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(uri, flags).map_err(|error| StoreError::sql(path, error))
}

/// Makes the tables, all or nothing. Not in a write-ahead log: the header of the file itself says
/// what it is.
fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; \
         {SCHEMA} COMMIT;"
    ))
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |name| pragma(connection, name).map_err(|error| StoreError::sql(path, error));
    check_numbers(path, number("application_id")?, number("user_version")?)
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

fn no_checkpoint(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(setting, on).map(|_| ())
}
