//! One writer at a time. The lock is on a file beside the map, as SQLite has locks of another kind
//! on the map itself; the kernel releases it when the writer ends, however that happens.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::StoreError;
use crate::names::escape;

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct WriterLock(File);

impl WriterLock {
    /// Takes it for the map `path`, and says so in the file for whoever comes second.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock = beside(path, ".lock");
        let error = |source: std::io::Error| StoreError::io(&lock, source);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&lock, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| error(errno.into()))?;
        let mut file = File::from(fd);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held {
                    path: path.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        // Who holds it is only a hint: that it cannot be written is no reason to stop.
        let _ = file.set_len(0);
        let _ = writeln!(file, "process {}", std::process::id());
        Ok(Self(file))
    }
}

impl Drop for WriterLock {
    /// Closing does not release it while a child of another thread has the descriptor, too: from its
    /// `fork` to its `exec`.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What the holder wrote. Anybody may have.
fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(40).read_to_end(&mut text));
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if read.is_err() || line.is_empty() {
        return "another run".to_owned();
    }
    escape(line).to_string()
}

/// A file whose name is that of `path` and `more`.
pub(super) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}
