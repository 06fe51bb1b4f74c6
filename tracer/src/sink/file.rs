//! Opens what `--output` and `--summary` name. Both may run as root in a folder that others can
//! write to, so a symlink is never followed, and a new file is for its owner only.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum OutputFileError {
    #[error("{} is a symbolic link, which is not followed; name the file it points to", .0.display())]
    Symlink(PathBuf),
    #[error("{} is a directory; name a file in it", .0.display())]
    Directory(PathBuf),
    #[error("{}: the folder does not exist; create it first", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is a FIFO that nobody reads; start its reader first", .0.display())]
    NoReader(PathBuf),
    #[error("{} is neither a file, a FIFO nor a character device; name one of these", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is being written by another run or option; wait for it, or name another file", .0.display())]
    Busy(PathBuf),
    #[error("no permission to write {}; change its mode or owner, or name another file", .0.display())]
    Denied(PathBuf),
    #[error("cannot write {} ({source}); name another file", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Opens `path` to append records to, and creates it (mode 0600) if it is missing. A regular file
/// is locked against a second writer for as long as the `File` lives.
pub fn open_output(path: &Path) -> Result<File, OutputFileError> {
    open(path, OFlags::APPEND)
}

/// Opens `path` for a summary, before the work starts, so that a bad path is known early. What the
/// file held stays until [`SummaryFile::write`].
pub fn open_summary(path: &Path) -> Result<SummaryFile, OutputFileError> {
    Ok(SummaryFile {
        file: open(path, OFlags::empty())?,
        path: path.to_owned(),
    })
}

/// A file that will be replaced by a summary.
#[derive(Debug)]
pub struct SummaryFile {
    file: File,
    path: PathBuf,
}

impl SummaryFile {
    /// Replaces what the file holds.
    pub fn write(mut self, summary: &[u8]) -> Result<(), OutputFileError> {
        self.replace(summary).map_err(|source| OutputFileError::Io {
            path: self.path,
            source,
        })
    }

    fn replace(&mut self, summary: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
            self.file.rewind()?;
        }
        self.file.write_all(summary)
    }
}

fn open(path: &Path, flags: OFlags) -> Result<File, OutputFileError> {
    // NONBLOCK: the open of a FIFO must fail, not wait, when nobody reads it.
    let flags = flags
        | OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NOCTTY
        | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| explain(path, errno))?;
    let other = |errno: Errno| OutputFileError::Io {
        path: path.to_owned(),
        source: errno.into(),
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(other)?.st_mode);
    match kind {
        FileType::RegularFile | FileType::Fifo | FileType::CharacterDevice => {}
        _ => return Err(OutputFileError::NotAFile(path.to_owned())),
    }
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(other)?;
    rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(other)?;
    let file = File::from(fd);
    if kind == FileType::RegularFile {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OutputFileError::Busy(path.to_owned()),
            TryLockError::Error(source) => OutputFileError::Io {
                path: path.to_owned(),
                source,
            },
        })?;
    }
    Ok(file)
}

fn explain(path: &Path, errno: Errno) -> OutputFileError {
    let kind = path
        .symlink_metadata()
        .map(|found| FileType::from_raw_mode(mode(&found)));
    let path = path.to_owned();
    match errno {
        Errno::LOOP => OutputFileError::Symlink(path),
        Errno::ISDIR => OutputFileError::Directory(path),
        Errno::NOENT if kind.is_err() => OutputFileError::NoFolder(path),
        Errno::NXIO if matches!(kind, Ok(FileType::Fifo)) => OutputFileError::NoReader(path),
        Errno::NXIO if matches!(kind, Ok(FileType::Socket)) => OutputFileError::NotAFile(path),
        Errno::ACCESS | Errno::PERM => OutputFileError::Denied(path),
        errno => OutputFileError::Io {
            path,
            source: errno.into(),
        },
    }
}

fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, mknodat};
    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_new_output_is_for_its_owner_only_and_an_old_one_is_appended_to() {
        let folder = folder();
        let path = folder.path().join("out.jsonl");
        open_output(&path).unwrap().write_all(b"one\n").unwrap();
        open_output(&path).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_file_has_one_writer_and_is_free_again_afterwards() {
        let folder = folder();
        let path = folder.path().join("out");
        let first = open_output(&path).unwrap();
        assert!(matches!(open_output(&path), Err(OutputFileError::Busy(_))));
        assert!(matches!(open_summary(&path), Err(OutputFileError::Busy(_))));
        drop(first);
        assert!(open_summary(&path).is_ok());
    }

    #[test]
    fn a_summary_replaces_the_file_only_when_it_is_written() {
        let folder = folder();
        let path = folder.path().join("summary");
        std::fs::write(&path, "a longer old summary").unwrap();
        let file = open_summary(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "a longer old summary"
        );
        file.write(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn symlinks_are_refused_even_when_they_dangle_and_their_target_is_untouched() {
        let folder = folder();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        symlink(&target, &link).unwrap();
        assert!(matches!(
            open_output(&link),
            Err(OutputFileError::Symlink(_))
        ));
        assert!(matches!(
            open_summary(&link),
            Err(OutputFileError::Symlink(_))
        ));
        assert!(!target.exists());
    }

    #[test]
    fn a_fifo_needs_a_reader_and_then_blocks_like_any_pipe() {
        let folder = folder();
        let path = folder.path().join("fifo");
        fifo(&path);
        assert!(matches!(
            open_output(&path),
            Err(OutputFileError::NoReader(_))
        ));

        let reader = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut reader = File::from(rustix::fs::open(&path, reader, Mode::empty()).unwrap());
        let mut writer = open_output(&path).unwrap();
        assert!(
            !rustix::fs::fcntl_getfl(&writer)
                .unwrap()
                .contains(OFlags::NONBLOCK)
        );
        writer.write_all(b"line\n").unwrap();
        drop(writer);
        open_summary(&path).unwrap().write(b"summary\n").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\nsummary\n");
    }

    #[test]
    fn devices_are_written_without_a_lock() {
        let (one, two) = (
            open_output(Path::new("/dev/null")),
            open_output(Path::new("/dev/null")),
        );
        assert!(one.is_ok() && two.is_ok());
        let full = open_summary(Path::new("/dev/full")).unwrap();
        assert!(matches!(full.write(b"x"), Err(OutputFileError::Io { .. })));
    }

    #[test]
    fn what_cannot_hold_records_is_refused_by_its_kind() {
        let folder = folder();
        assert!(matches!(
            open_output(folder.path()),
            Err(OutputFileError::Directory(_))
        ));
        let missing = folder.path().join("no/such/file");
        assert!(matches!(
            open_output(&missing),
            Err(OutputFileError::NoFolder(_))
        ));
        assert!(matches!(
            open_output(Path::new("")),
            Err(OutputFileError::NoFolder(_))
        ));
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(matches!(
            open_output(&socket),
            Err(OutputFileError::NotAFile(_))
        ));
    }

    #[test]
    fn a_refused_file_is_told_with_its_name_and_a_cure() {
        let denied = explain(Path::new("/root/x"), Errno::ACCESS).to_string();
        assert_eq!(
            denied,
            "no permission to write /root/x; change its mode or owner, or name another file"
        );
        let full = explain(Path::new("/mnt/x"), Errno::ROFS).to_string();
        assert!(
            full.starts_with("cannot write /mnt/x (Read-only file system"),
            "{full}"
        );
    }
}
