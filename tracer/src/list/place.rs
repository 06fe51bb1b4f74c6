//! A network namespace whose sockets are listed, found anew each time: one that was kept open
//! would never go away.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::namespaces::{self, Namespace};
use crate::options::netns::{NetnsError, parse_netns};

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the user wrote it; `None` is our own.
    name: Option<String>,
    /// A path, if it is one.
    path: Option<PathBuf>,
    /// Its inode number.
    inode: u32,
}

/// Why a namespace cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum PlaceError {
    #[error("network namespace {0} is gone: {1}; `lsns -t net` lists what there is")]
    Gone(String, io::Error),
    #[error(
        "no process and no name that can be seen here holds network namespace {0}; `sudo lsns -t \
         net` lists what there is"
    )]
    NotFound(String),
    #[error("{0} is no longer network namespace {1}")]
    Another(String, u32),
    #[error("no permission to open network namespace {0}; run with sudo")]
    Denied(String),
}

impl Place {
    /// Our own namespace.
    pub fn own() -> Result<Self, NetnsError> {
        Ok(Self {
            name: None,
            path: None,
            inode: parse_netns("self")?,
        })
    }

    /// The one that `text` names: `self`, an inode number, or a path.
    pub fn parse(text: &str) -> Result<Self, NetnsError> {
        let inode = parse_netns(text)?;
        let own = Self::own()?;
        if inode == own.inode {
            return Ok(own);
        }
        let text = text.trim();
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        Ok(Self {
            name: Some(text.escape_debug().to_string()),
            path: (!number).then(|| text.into()),
            inode,
        })
    }

    /// Its inode number.
    pub const fn inode(&self) -> u32 {
        self.inode
    }

    /// Opens it, if it is still there.
    pub fn open(&self) -> Result<Namespace, PlaceError> {
        let inode = self.inode;
        let Some(name) = &self.name else {
            return Ok(Namespace { inode, file: None });
        };
        let Some(path) = &self.path else {
            let found = namespaces::all(&[inode]).pop();
            return found.ok_or_else(|| PlaceError::NotFound(name.clone()));
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => PlaceError::Denied(name.clone()),
            _ => PlaceError::Gone(name.clone(), error),
        };
        // Another file may be there now, even a FIFO.
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.ino() != u64::from(inode) {
            return Err(PlaceError::Another(name.clone(), inode));
        }
        Ok(Namespace {
            inode,
            file: Some(file),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_not_entered_however_it_is_named() {
        let own = Place::own().unwrap();
        for text in ["self", "/proc/self/ns/net", &own.inode.to_string()] {
            let place = Place::parse(text).unwrap();
            assert_eq!(place, own, "{text}");
            assert!(place.open().unwrap().file.is_none());
        }
    }

    #[test]
    fn what_is_gone_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blue");
        let place = Place {
            name: Some("blue".to_owned()),
            path: Some(path.clone()),
            inode: 7,
        };
        assert!(
            place
                .open()
                .unwrap_err()
                .to_string()
                .starts_with("network namespace blue is gone")
        );
        std::fs::write(path, "").unwrap();
        assert!(matches!(place.open(), Err(PlaceError::Another(..))));
        let number = Place {
            path: None,
            ..place
        };
        assert!(matches!(number.open(), Err(PlaceError::NotFound(_))));
    }
}
