//! One MMDB file: opened, with what is wrong told, and asked for addresses.
//!
//! It is read into memory. Mapping it would save memory, but whoever then overwrites the file in
//! place (`cp` does) would end the run by a signal.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::entry::Entry;
use super::other;
use crate::names::escape;
use crate::record::Peer;
use crate::say::say;

/// Entries that are looked at to see whether a database is of any use.
const SAMPLE: usize = 1_000;

/// Which file, in which state: another one is another database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Why a file is of no use; each text completes "FILE …".
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is {0}")]
    Other(&'static str),
    #[error("is damaged ({0}); download it again")]
    Damaged(String),
}

/// A database in memory.
#[derive(Debug)]
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
    path: PathBuf,
    pub(super) stamp: Stamp,
    /// That it is damaged was said.
    complained: bool,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // Before it is opened: that of a pipe waits for whoever writes to it.
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(OpenError::Other("a directory; give the .mmdb file in it"));
        }
        if !metadata.is_file() {
            return Err(OpenError::Other(
                "a pipe or a device; give a file, which can be read again when it is replaced",
            ));
        }
        let mut file = File::open(path)?;
        let stamp = Stamp::from(&file.metadata()?);
        let head = read_at(&mut file, SeekFrom::Start(0), other::HEAD)?;
        let tail = stamp.size.saturating_sub(other::TAIL as u64);
        let tail = read_at(&mut file, SeekFrom::Start(tail), other::TAIL)?;
        if let Some(what) = other::what(path, &head, &tail) {
            return Err(OpenError::Other(what));
        }
        let whole = read_whole(&mut file, stamp.size)?;
        let reader = Reader::from_source(whole).map_err(damaged)?;
        let database = Self {
            reader,
            path: path.to_owned(),
            stamp,
            complained: false,
        };
        if !database.tells_something()? {
            let kind = escape(database.reader.metadata().database_type.as_bytes());
            say(&format!(
                "note: --geoip {}: no country, city or AS in its first entries; it is a database of \
                 type {kind}",
                path.display()
            ));
        }
        Ok(database)
    }

    /// Whether one of the first entries has anything that is known here. One that is damaged there
    /// is an error.
    fn tells_something(&self) -> Result<bool, OpenError> {
        let networks = self.reader.networks(WithinOptions::default());
        for network in networks.map_err(damaged)?.take(SAMPLE) {
            let entry = network.and_then(|network| network.decode::<Entry>());
            let entry = entry.map_err(damaged)?;
            if entry.is_some_and(|entry| !entry.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives `peer` what it does not have yet and this database does.
    pub(super) fn fill(&mut self, ip: IpAddr, peer: &mut Peer) {
        match self.entry(ip) {
            Ok(Some(entry)) => entry.fill(peer),
            Err(error) if !self.complained => {
                self.complained = true;
                say(&format!(
                    "note: --geoip {} {}; what is damaged is left out",
                    self.path.display(),
                    damaged(error)
                ));
            }
            Ok(None) | Err(_) => {}
        }
    }

    fn entry(&self, ip: IpAddr) -> Result<Option<Entry>, MaxMindDbError> {
        if ip.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        self.reader.lookup(ip)?.decode()
    }
}

/// Whatever the library says may quote the file.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn damaged(error: MaxMindDbError) -> OpenError {
    OpenError::Damaged(escape(error.to_string().as_bytes()).into())
}

fn read_whole(file: &mut File, size: u64) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    // At once: growing step by step can take twice as much.
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_at(file: &mut File, start: SeekFrom, most: usize) -> io::Result<Vec<u8>> {
    file.seek(start)?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
