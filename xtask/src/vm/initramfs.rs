//! A file system for the kernel to unpack into memory.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType};

/// Writes an initramfs, file by file.
pub(crate) struct Initramfs {
    out: BufWriter<File>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Initramfs {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            out: BufWriter::new(file),
            entries: 0,
            folders: BTreeSet::new(),
        })
    }

    /// Adds a file that everybody may run, with the folders above it.
    pub(crate) fn file(&mut self, place: &str, bytes: &[u8]) -> Result<()> {
        let place = place.trim_start_matches('/');
        for (end, _) in place.match_indices('/') {
            self.folder(&place[..end])?;
        }
        self.entry(place, ModeFileType::Regular, 0o755, bytes)
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, place: &str) -> Result<()> {
        if self.folders.insert(place.to_owned()) {
            self.entry(place, ModeFileType::Directory, 0o755, &[])?;
        }
        Ok(())
    }

    /// Writes the end.
    pub(crate) fn finish(self) -> Result<()> {
        let mut out = cpio::newc::trailer(self.out).context("cannot write an initramfs")?;
        out.flush().context("cannot write an initramfs")
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(bytes.len()).context("an initramfs takes no file over 4 GiB")?;
        let entry = Builder::new(name)
            .ino(self.entries)
            .mode(mode)
            .set_mode_file_type(kind);
        let mut writer = entry.write(&mut self.out, size);
        writer
            .write_all(bytes)
            .and_then(|()| writer.finish().map(drop))
            .with_context(|| format!("cannot write {name} to an initramfs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initrd");
        let mut initramfs = Initramfs::create(&path).unwrap();
        initramfs.file("/usr/bin/ip", b"abc").unwrap();
        initramfs.file("usr/bin/cp", b"").unwrap();
        initramfs.finish().unwrap();
        let mut rest = File::open(path).unwrap();
        let mut names = Vec::new();
        loop {
            let reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/ip", "usr/bin/cp"]);
    }
}
