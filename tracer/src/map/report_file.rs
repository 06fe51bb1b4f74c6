//! A file that shows the map while it grows: replaced as a whole, so that its reader never sees half
//! of it, or added to.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use jiff::tz::TimeZone;
use rustix::fs::{Mode, OFlags};

use super::Map;
use super::options::Report;
use super::view::{Filter, Shown};
use crate::peers::Peers;
use crate::record::WallTime;
use crate::report::map::{Style, heading, write};
use crate::sink::file::{OutputFileError, open_output};
use crate::terminal;

/// Where reports go.
#[derive(Debug)]
pub struct ReportFile {
    report: Report,
    zone: TimeZone,
    /// Who tells of addresses.
    peers: Option<Peers>,
    /// Where they are added up.
    file: Option<File>,
}

impl ReportFile {
    /// Checks that reports can go there.
    pub fn open(report: Report, peers: Option<Peers>) -> Result<Self, OutputFileError> {
        let file = if report.append {
            Some(open_output(&report.path)?)
        } else {
            check(&report.path)?;
            None
        };
        Ok(Self {
            report,
            zone: TimeZone::system(),
            peers,
            file,
        })
    }

    /// Writes a report of `map`.
    pub fn write(&mut self, map: Map, time: WallTime) -> Result<(), OutputFileError> {
        let shape = self.report.shape;
        let filter = Filter {
            loopback: self.report.loopback,
            ..Filter::default()
        };
        let shown = Shown::of(map, &filter);
        let peers = self.peers.as_mut();
        let known = peers.map(|peers| peers.of_all(&shown.addresses()));
        let style = Style {
            time,
            zone: &self.zone,
            width: terminal::UNLIMITED,
            top: None,
            known: known.as_ref(),
        };
        let text = write(&shown, shape, &style);
        let written = match &mut self.file {
            Some(file) => {
                let text = heading(shape.format, time) + &text;
                file.write_all(text.as_bytes())
            }
            None => replace(&self.report.path, text.as_bytes()),
        };
        written.map_err(|source| OutputFileError::Io {
            path: self.report.path.clone(),
            source,
        })
    }
}

/// Only a regular file, or none, is replaced.
fn check(path: &Path) -> Result<(), OutputFileError> {
    if path.file_name().is_none() {
        return Err(OutputFileError::Directory(path.to_owned()));
    }
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => Err(OutputFileError::Symlink(path.to_owned())),
        Ok(found) if found.is_dir() => Err(OutputFileError::Directory(path.to_owned())),
        Ok(found) if !found.is_file() => Err(OutputFileError::NotAFile(path.to_owned())),
        _ => Ok(()),
    }
}

/// Replaces what `path` names, keeping its mode: whoever reads it may go on doing so.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mode = path.symlink_metadata().ok().map(|old| old.permissions());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // Of a run that was killed; we are the only writer.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&*new, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(fd);
    let written = (|| {
        if let Some(mode) = mode {
            file.set_permissions(mode)?;
        }
        file.write_all(text)?;
        // Or a loss of power could leave an empty file in place of the old one.
        file.sync_data()?;
        std::fs::rename(&new, path)
    })();
    if written.is_err() {
        // The error is what matters.
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::map::options::{Format, Shape, View};
    use crate::map::view::samples::{NOON, map};

    fn report(path: PathBuf, append: bool, format: Format) -> Report {
        Report {
            path,
            append,
            every: Duration::from_secs(30),
            shape: Shape {
                format,
                view: View::OneToMany,
            },
            loopback: false,
        }
    }

    #[test]
    fn a_report_replaces_the_file_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        std::fs::write(&path, "old").unwrap();
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).unwrap();
        // Left behind by a run that was killed.
        std::fs::write(folder.path().join("report.new"), "half").unwrap();
        let mut file = ReportFile::open(report(path.clone(), false, Format::List), None).unwrap();
        for _ in 0..2 {
            file.write(map(), NOON).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("9.0.0.1\n10.0.0.9\n"), "{text}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn appended_reports_are_dated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let mut file = ReportFile::open(report(path.clone(), true, Format::List), None).unwrap();
        for _ in 0..2 {
            file.write(map(), NOON).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let dated = "# 2026-01-31T12:00:00.000000000Z\n9.0.0.1\n";
        assert_eq!(text.matches(dated).count(), 2, "{text}");
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        for path in [link, folder.path().into(), "/dev/null".into()] {
            let result = ReportFile::open(report(path.clone(), false, Format::List), None);
            assert!(result.is_err(), "{}", path.display());
        }
        let nowhere = folder.path().join("no/report");
        let mut file = ReportFile::open(report(nowhere, false, Format::List), None).unwrap();
        let error = file.write(map(), NOON).unwrap_err().to_string();
        assert!(error.contains("no/report"), "{error}");
    }
}
