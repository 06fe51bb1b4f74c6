//! Why a map cannot be opened, read or saved.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a map cannot be opened, read or saved. The file is never changed then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum StoreError {
    #[error("{} does not exist; a run with --state makes it", .0.display())]
    Missing(PathBuf),
    #[error("{}: the folder does not exist; create it first", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is a symbolic link, which is not followed; name the file it points to", .0.display())]
    Symlink(PathBuf),
    #[error("{} is not a regular file; name another file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not a map of conntracer, and is left as it is; name another file", .0.display())]
    NotAMap(PathBuf),
    #[error(
        "{} is a map of version {found}, and this conntracer knows version {known}; it is left as it \
         is: use a newer conntracer, or name another file",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error(
        "{} is damaged ({what}), and is left as it is; restore a copy, or name another file",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
    #[error("{} is being written by {holder}; wait for it, or name another file", path.display())]
    Held { path: PathBuf, holder: String },
    #[error("{} is locked by another program; close it", .0.display())]
    Locked(PathBuf),
    #[error("no permission for {}; change its mode or owner, or name another file", .0.display())]
    Denied(PathBuf),
    #[error("{} is read-only, or its folder or file system is", .0.display())]
    ReadOnly(PathBuf),
    #[error("no room for {}: the disk is full", .0.display())]
    Full(PathBuf),
    #[error(
        "{} has room for {room} more of these {count} addresses; nothing was imported: raise \
         --map-max",
        path.display()
    )]
    TooMany {
        path: PathBuf,
        room: u64,
        count: u64,
    },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Sql {
        path: PathBuf,
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// What `source` says of the file `path`.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoFolder(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Io { path, source },
        }
    }

    /// Likewise.
    pub(super) fn sql(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let damaged = |what: String| Self::Damaged {
            path: path.clone(),
            what,
        };
        match &source {
            // A column that does not hold what we write.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => return damaged(source.to_string()),
            _ => {}
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::PermissionDenied) => Self::Denied(path),
            Some(ErrorCode::NotADatabase) => Self::NotAMap(path),
            Some(ErrorCode::DatabaseCorrupt) => damaged("its pages do not fit together".to_owned()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            _ => Self::Sql { path, source },
        }
    }
}
